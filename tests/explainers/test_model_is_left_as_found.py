import pytest
import torch
from networks import Gap, Plain, Raises, randomised
from paper_methods import Occlusion, SupervoxelOcclusion

from pyadx import (
    CAM,
    DeepLift,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    InputXGradient,
    IntegratedGradients,
    LayerCAM,
    SmoothGrad,
    XGradCAM,
)
from pyadx.inference import FullScorer

EXPLAINERS = {
    "occlusion": lambda model: Occlusion(model, 3, 5),
    "sa3ducm": lambda model: SupervoxelOcclusion(model, max_regions=6),
    "gradcam": lambda model: GradCAM(model),
    "gradcampp": lambda model: GradCAMPlusPlus(model),
    "xgradcam": lambda model: XGradCAM(model),
    "layercam": lambda model: LayerCAM(model),
    "hirescam": lambda model: HiResCAM(model),
    "cam": lambda model: CAM(model),
    "smoothgrad": lambda model: SmoothGrad(model, 2),
    "inputxgradient": lambda model: InputXGradient(model),
    "integratedgradients": lambda model: IntegratedGradients(model, steps=2),
    "deeplift": lambda model: DeepLift(model),
}


def state_of(model):
    """Everything about a model that an explainer might change."""
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()
    ]
    flags = [(p.requires_grad, p.grad is None, p.device, p.stride()) for p in model.parameters()]
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    identities = [id(p) for p in model.parameters()]
    return [m.training for m in model.modules()], hooks, flags, identities, values


def assert_same(before, after):
    assert before[:4] == after[:4]
    assert all(torch.equal(before[4][name], after[4][name]) for name in before[4])


def mixed_mode(model):
    model.train()
    next(model.children()).eval()
    next(model.parameters()).requires_grad_(False)
    return model


@pytest.mark.parametrize("name", EXPLAINERS)
def test_after_success(name):
    model = mixed_mode(randomised(Gap() if name == "cam" else Plain()))
    before = state_of(model)
    grad_mode = torch.is_grad_enabled()
    EXPLAINERS[name](model)(torch.rand(2, 1, 9, 9, 9), target=1)
    assert_same(before, state_of(model))
    assert torch.is_grad_enabled() == grad_mode


@pytest.mark.parametrize("name", EXPLAINERS)
def test_after_an_error_in_the_middle(name):
    model = mixed_mode(Raises())
    before = state_of(model)
    with pytest.raises(RuntimeError, match="the model broke"):
        EXPLAINERS[name](model)(torch.rand(1, 1, 9, 9, 9), target=1)
    assert_same(before, state_of(model))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", EXPLAINERS)
def test_after_a_wrong_target(name):
    model = mixed_mode(randomised(Gap()))
    before = state_of(model)
    with pytest.raises(ValueError, match="target 7"):
        EXPLAINERS[name](model)(torch.rand(1, 1, 9, 9, 9), target=7)
    assert_same(before, state_of(model))


@pytest.mark.parametrize("name", EXPLAINERS)
def test_evaluation_mode_is_used(name):
    """Grad-CAM of VGGNet in training mode at batch one has a gradient of exactly zero."""
    model = randomised(Gap() if name == "cam" else Plain()).eval()
    scan = torch.rand(1, 1, 9, 9, 9)
    expected = EXPLAINERS[name](model)(scan, target=1)
    assert torch.equal(EXPLAINERS[name](model.train())(scan, target=1), expected)


@pytest.mark.parametrize(
    ("outputs", "error", "words"),
    [
        (lambda x: x.mean((3, 4)), ValueError, "[B, classes]"),
        (lambda x: (x.mean((2, 3, 4)),), TypeError, "tuple"),
        (lambda x: x.mean((2, 3, 4)).repeat(1, 2) / 0, ValueError, "NaN or infinity"),
    ],
)
def test_outputs_that_are_no_class_scores_are_told(outputs, error, words):
    class Odd(Plain):
        def forward(self, x):
            super().forward(x)
            return outputs(x)

    for name in ("occlusion", "gradcam"):
        with pytest.raises(error) as raised:
            EXPLAINERS[name](Odd())(torch.rand(1, 1, 9, 9, 9), target=0)
        assert words in str(raised.value)


def test_tied_and_parametrised_weights_are_run_as_they_are():
    """The model is called with detached weights: sharing and parametrisations must survive that."""
    model = randomised(Plain()).double().eval()
    model.twin = torch.nn.Conv3d(4, 6, 3, padding=1, dtype=torch.float64)
    model.twin.weight = model.conv2.weight
    torch.nn.utils.parametrizations.spectral_norm(model.conv1)

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            y = self.net.pool(self.net.relu1(self.net.bn1(self.net.conv1(x))))
            return self.net.head(self.net.conv2(y) + self.net.twin(y))

    both = Both().eval()
    scan = torch.rand(1, 1, 9, 9, 9, dtype=torch.float64)
    scorer = FullScorer(both, scan[0], target=1)
    assert scorer.reference == pytest.approx(both(scan).softmax(1)[0, 1].item(), rel=1e-12)
    assert model.twin.weight is model.conv2.weight
