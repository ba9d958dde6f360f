"""Tied, shared, parametrised and hooked tensors: the same objects, flags and values afterwards."""

import warnings

import pytest
import torch
from networks import randomised
from paper_methods import Occlusion, SupervoxelOcclusion
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from pyadx import CAM, GradCAM
from pyadx.inference import FullScorer, IncrementalScorer

SHAPE = (9, 8, 10)
EXPLAINERS = {
    "occlusion-incremental": lambda model: Occlusion(model, 3, 5, engine="incremental"),
    "occlusion-full": lambda model: Occlusion(model, 3, 5, engine="full"),
    "sa3ducm-incremental": lambda model: SupervoxelOcclusion(model, engine="incremental", max_regions=6),
    "sa3ducm-full": lambda model: SupervoxelOcclusion(model, engine="full", max_regions=6),
    "gradcam": lambda model: GradCAM(model, "last"),
    "cam": lambda model: CAM(model),
}


class Pooled(nn.Module):
    """Two convolutions, global average pooling, a linear layer; ``last`` runs once."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.second = nn.Conv3d(4, 4, 3, padding=1)
        self.last = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def features(self, x):
        return self.last(self.second(self.act(self.first(x))))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3, 4)))


class SharedActivation(Pooled):
    """One PReLU under two names, which runs twice."""

    def __init__(self):
        super().__init__()
        self.act = self.again = nn.PReLU(4)

    def features(self, x):
        return self.last(self.again(self.second(self.act(self.first(x)))))


class SharedConvolution(Pooled):
    """One convolution under two names, which runs twice."""

    def __init__(self):
        super().__init__()
        self.third = self.second

    def features(self, x):
        return self.last(self.third(self.act(self.second(self.act(self.first(x))))))


class RegisteredTwice(Pooled):
    """As nnU-Net's encoders: every layer is an attribute, and in a sequence besides."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm3d(4)
        self.all_modules = nn.Sequential(self.first, self.norm, self.act, self.second)

    def features(self, x):
        return self.last(self.all_modules(x))


class SharedParameter(Pooled):
    """Two layers with the same weight and bias."""

    def __init__(self):
        super().__init__()
        self.third = nn.Conv3d(4, 4, 3, padding=1)
        self.third.weight, self.third.bias = self.second.weight, self.second.bias

    def features(self, x):
        return self.last(self.third(self.act(self.second(self.act(self.first(x))))))


class SharedBuffer(Pooled):
    """A buffer of two modules."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(4, 1, 1, 1))
        self.act.register_buffer("scale", self.scale)

    def features(self, x):
        x = self.second(self.act(self.first(x)) + self.act.scale)
        return self.last(x * self.scale)


class ListOfTheSame(Pooled):
    """A list that holds one block three times."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(self.second, nn.PReLU())] * 3)

    def features(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def weight_norm(model):
    parametrizations.weight_norm(model.second)
    return model


def spectral_norm(model):
    parametrizations.spectral_norm(model.second)
    return model


def old_hooks(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(model.first)
        nn.utils.spectral_norm(model.second)
    return model


def tied_parametrisation(model):
    """A parametrised weight of two layers."""
    parametrizations.weight_norm(model.second)
    model.twin = model.second
    return model


def frozen(model):
    model.first.requires_grad_(False)
    return model


def not_a_leaf(model):
    """A weight that was computed, and still knows from what."""
    weight = model.second.weight
    del model.second.weight
    model.second.weight = weight * 2
    return model


def with_gradients(model):
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    return model


NETWORKS = {
    "plain": Pooled,
    "shared-activation": SharedActivation,
    "shared-convolution": SharedConvolution,
    "registered-twice": RegisteredTwice,
    "shared-parameter": SharedParameter,
    "shared-buffer": SharedBuffer,
    "list-of-the-same": ListOfTheSame,
    "weight-norm": lambda: weight_norm(Pooled()),
    "spectral-norm": lambda: spectral_norm(Pooled()),
    "old-hooks": lambda: old_hooks(Pooled()),
    "tied-parametrisation": lambda: tied_parametrisation(Pooled()),
    "frozen": lambda: frozen(RegisteredTwice()),
    "not-a-leaf": lambda: not_a_leaf(Pooled().double()),
    "with-gradients": lambda: with_gradients(SharedParameter()),
}


def build(name):
    torch.manual_seed(4)
    return NETWORKS[name]().double().eval()


def state_of(model):
    """Every object that a module holds, with flags and values, under every name it has."""
    state = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for kind, held in (("parameter", module._parameters), ("buffer", module._buffers)):
            for name, tensor in held.items():
                state[kind, path, name] = tensor
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                state["attribute", path, name] = value
        if parametrize.is_parametrized(module):
            state["parametrised", path, "names"] = tuple(module.parametrizations)
        state["module", path, "itself"] = module
        state["hooks", path, "before"] = tuple(module._forward_pre_hooks.items())
        state["hooks", path, "after"] = tuple(module._forward_hooks.items())
        state["mode", path, "training"] = module.training
    return state


def snapshot(model):
    values = {}
    for key, value in state_of(model).items():
        if isinstance(value, torch.Tensor):
            gradient = None if value.grad_fn is not None or value.grad is None else value.grad.clone()
            told = (type(value), value.requires_grad, value.is_leaf, value.stride(), value.grad_fn)
            values[key] = (value, value.detach().clone(), told, gradient)
        else:
            values[key] = value
    return values


def assert_same(model, before):
    after = snapshot(model)
    assert list(after) == list(before)
    for key, value in before.items():
        if isinstance(value, tuple) and len(value) == 4 and isinstance(value[0], torch.Tensor):
            tensor, content, told, gradient = after[key]
            assert tensor is value[0], key
            assert torch.equal(content, value[1]), key
            assert told == value[2], key
            assert (gradient is None) == (value[3] is None), key
            assert gradient is None or torch.equal(gradient, value[3]), key
        else:
            assert after[key] == value, key


@pytest.fixture
def scan(generator):
    return torch.rand(1, 1, *SHAPE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", EXPLAINERS)
def test_everything_is_as_it_was(method, name, scan):
    model = build(name).train()
    before = snapshot(model)
    EXPLAINERS[method](model)(scan, target=1)
    assert_same(model, before)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", EXPLAINERS)
def test_everything_is_as_it_was_after_an_error_and_in_inference_mode(method, name, scan):
    model = build(name)
    explain = EXPLAINERS[method](model)
    before = snapshot(model)
    with torch.inference_mode():
        inside = explain(scan, target=1)
    assert_same(model, before)
    assert torch.equal(inside, explain(scan, target=1))

    def broken(module, args, output):
        raise RuntimeError("the model broke")

    model.head.register_forward_hook(broken)
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="the model broke"):
        EXPLAINERS[method](model)(scan, target=1)
    assert_same(model, before)


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_equal_plain_forwards(name, scan):
    model = build(name)
    boxes = torch.tensor([[0, 0, 0, 3, 3, 3], [2, 3, 4, 6, 5, 9], [0, 0, 0, 9, 8, 10], [8, 7, 9, 9, 8, 10]])
    expected = []
    with torch.no_grad():
        plain = model(scan)[0, 1]
        for z0, y0, x0, z1, y1, x1 in boxes.tolist():
            filled = scan.clone()
            filled[:, :, z0:z1, y0:y1, x0:x1] = 0.2
            expected.append((plain - model(filled)[0, 1]).abs())
    expected = torch.stack(expected)
    for scorer in (IncrementalScorer, FullScorer):
        actual = scorer(model, scan[0], 1, fill=0.2, score="logit").score(boxes)
        assert (actual - expected).abs().max() < 1e-10 * expected.max()


@pytest.mark.parametrize("name", NETWORKS)
def test_training_goes_on(name, scan):
    """What an optimiser holds is still what the model runs on."""
    model = build(name)
    EXPLAINERS["occlusion-full"](model)(scan, target=1)
    EXPLAINERS["gradcam"](model)(scan, target=1)
    if name == "not-a-leaf":
        return
    model.zero_grad()
    model(scan)[0, 1].backward()
    moved = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in moved)


class Counts(Pooled):
    """Counts its forward passes in a buffer, and gives more each time."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        self.passes += 1
        return super().forward(x) * self.passes


@pytest.mark.parametrize("method", [m for m in EXPLAINERS if "incremental" not in m and m != "cam"])
@pytest.mark.filterwarnings("ignore:occlusion runs")
def test_buffers_that_a_forward_pass_writes_into_keep_their_values(method, scan):
    model = randomised(Counts()).double().eval()
    before = snapshot(model)
    explain = EXPLAINERS[method](model)
    heat = explain(scan, target=1)
    assert_same(model, before)
    assert torch.equal(explain(scan, target=1), heat)


def test_tensors_that_a_forward_pass_keeps_are_let_go(scan):
    class Keeps(Pooled):
        def forward(self, x):
            self.kept = self.features(x)
            return self.head(self.kept.mean((2, 3, 4)))

    model = randomised(Keeps()).double()
    for explain in EXPLAINERS.values():
        explain(model)(scan, target=1)
        assert not hasattr(model, "kept")


def test_weights_that_wait_for_a_first_scan_are_told(scan):
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.LazyLinear(2)).double()
    for explain in (Occlusion(model), GradCAM(model)):
        with pytest.raises(ValueError, match=r"'2.weight' is not initialised yet; run the model once"):
            explain(scan)
