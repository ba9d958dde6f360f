import pytest
import torch
from networks import Gap, Plain, randomised
from reference import cam as reference

from pyadx import CAM, GradCAM, models


@pytest.fixture
def scans(generator):
    return torch.rand(3, 1, 12, 13, 15, generator=generator, dtype=torch.float64)


def plain(classes=2, in_channels=1):
    return randomised(Plain(in_channels, classes)).double().eval()


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("rectify", ["abs", "relu", "none"])
@pytest.mark.parametrize("layer", ["conv1", "bn1", "relu1", "pool", "conv2", "relu2"])
def test_equals_reference_through_full_autograd(layer, rectify, score, scans):
    model = plain()
    # The twin must not let in-place activations overwrite the maps that it keeps.
    model.relu1.inplace = model.relu2.inplace = False
    expected = reference.gradcam(model, model.get_submodule(layer), scans, [1, 0, 1], rectify, score)
    model.relu1.inplace = model.relu2.inplace = True
    actual = GradCAM(model, layer, rectify, score=score)(scans, target=[1, 0, 1])
    assert actual.dtype == torch.float32
    assert actual.shape == (3, 12, 13, 15)
    assert torch.allclose(actual.double(), expected, rtol=1e-5, atol=1e-7 * expected.abs().max().item())


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (lambda: models.build("resnet-gap", (17, 19, 22), seed=1), "voxres9_out"),
        (lambda: models.build("resnet-shallow-gap", (17, 19, 22), seed=1), "relu4"),
        (lambda: randomised(Gap()), "act"),
        (lambda: randomised(Gap(classes=5)), "act"),
        (lambda: randomised(Gap(classes=1)), "act"),
    ],
    ids=["resnet-gap", "resnet-shallow-gap", "mean-and-skip", "five-classes", "one-output"],
)
def test_of_a_gap_network_equals_its_cam_up_to_the_number_of_cells(model, layer, score, generator):
    model = model().double()
    scans = torch.rand(2, 1, 17, 19, 22, generator=generator, dtype=torch.float64)
    cam = CAM(model, score=score)(scans, target=[1, 0])
    gradcam = GradCAM(model, layer, score=score)(scans, target=[1, 0])
    kept = {}
    handle = model.get_submodule(layer).register_forward_hook(
        lambda m, a, out: kept.update(n=out[0, 0].numel())
    )
    model(scans[:1])
    handle.remove()
    assert cam.abs().max() > 0
    assert torch.allclose(gradcam * kept["n"], cam, rtol=1e-5, atol=1e-6 * cam.abs().max().item())


def test_paper_networks_equal_reference_at_full_size(generator):
    """VGGNet at 110^3 and its shallow layer, in float32 as users run it."""
    model = models.build("vggnet", seed=3).eval()
    scan = torch.rand(1, 1, 110, 110, 110, generator=generator)
    expected = reference.gradcam(model, model.conv2b, scan, [1], "abs")
    actual = GradCAM(model, "conv2b")(scan, target="AD")
    assert torch.allclose(actual.double(), expected, rtol=0, atol=1e-4 * expected.max().item())


def test_each_scan_of_a_batch_is_explained_for_itself(scans):
    """Without a target MONAI explains every scan for one class; here each keeps its own."""
    model = plain(classes=4)
    batch = GradCAM(model, "conv2")(scans)
    predicted = model(scans).argmax(1).tolist()
    for scan, own, target in zip(scans, batch, predicted, strict=True):
        assert torch.allclose(GradCAM(model, "conv2")(scan, target=target)[0], own, rtol=1e-5)


def test_higher_values_mean_more_relevant():
    """MONAI inverts heatmaps by default."""
    model = Gap().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.conv1.weight[0, 0, 1, 1, 1] = 1.0
        model.fc.weight[1, 0] = 1.0
    scan = torch.zeros(1, 9, 9, 9, dtype=torch.float64)
    scan[0, 2, 3, 4] = 1.0
    for explain in (GradCAM(model, "act"), CAM(model)):
        heatmap = explain(scan, target=1)[0]
        assert heatmap.argmax() == scan.argmax()
        assert heatmap.min() == 0


def test_frozen_weights_are_explained_and_take_no_gradients(scans):
    """MONAI, grad-cam and torchcam fail on frozen weights, and back-propagate into free ones."""
    model = plain()
    free = GradCAM(model, "conv2")(scans, target=1)
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert torch.equal(GradCAM(model, "conv2")(scans, target=1), free)
    assert not any(p.requires_grad for p in model.parameters())


def test_nothing_below_the_layer_is_recorded(scans):
    model = plain()
    recorded = {}
    for name in ("conv1", "pool", "conv2", "drop"):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: recorded.update(
                {name: (torch.is_grad_enabled(), out.requires_grad)}
            )
        )
    GradCAM(model, "conv2")(scans, target=0)
    assert recorded["conv1"] == (False, False)
    assert recorded["pool"] == (False, False)
    assert recorded["drop"] == (True, True)


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_works_in_any_gradient_mode_and_restores_it(context, scans):
    model = plain()
    expected = GradCAM(model, "conv2")(scans, target=1)
    with context():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        actual = GradCAM(model, "conv2")(scans * 1.0, target=1)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert torch.equal(actual, expected)


def test_default_layer_is_declared_or_the_last_convolution():
    assert GradCAM(models.build("resnet", (49, 49, 49))).layer == "voxres9_out"
    assert GradCAM(models.build("vggnet", (100, 100, 100))).layer == "conv4c"
    assert GradCAM(plain()).layer == "conv2"


def test_cuda_equals_cpu(device, generator):
    model = randomised(Plain()).eval()
    scans = torch.rand(2, 1, 12, 13, 15, generator=generator)
    expected = GradCAM(model, "conv2")(scans, target=1)
    actual = GradCAM(model.to(device), "conv2")(scans.to(device), target=1)
    assert actual.device.type == device.type
    assert torch.allclose(actual.cpu(), expected, rtol=1e-4, atol=1e-5 * expected.max().item())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda m, v: GradCAM(m, "conv9")(v), ValueError, "conv2"),
        (lambda m, v: GradCAM(m, "head.1")(v), ValueError, "feature maps"),
        (lambda m, v: GradCAM(m, rectify="square"), ValueError, "'square'"),
        (lambda m, v: GradCAM(m, align="centre"), ValueError, "'centre'"),
        (lambda m, v: GradCAM(m, score="odds"), ValueError, "'odds'"),
        (lambda m, v: GradCAM(m, batch_size=0), ValueError, "batch_size"),
        (lambda m, v: GradCAM(torch.nn.Linear(3, 2)), ValueError, "no 3D convolution"),
        (lambda m, v: GradCAM(m)(v, target=2), ValueError, "0 to 1"),
        (lambda m, v: GradCAM(m)(v, target="AD"), ValueError, "class_names"),
        (lambda m, v: GradCAM(m)(v, target=[0, 1]), ValueError, "2 targets for 3 scans"),
        (lambda m, v: GradCAM(m)(v.tolist()), TypeError, "list"),
        (lambda m, v: GradCAM(m)(v > 0), TypeError, "mask"),
        (lambda m, v: GradCAM(m)(v.float()), TypeError, "float64"),
        (lambda m, v: GradCAM(m)(v[0, 0]), ValueError, "[B,C,D,H,W]"),
        (lambda m, v: GradCAM(m)(v[:0]), ValueError, "empty"),
        (lambda m, v: GradCAM(m)(v / 0), ValueError, "NaN"),
    ],
)
def test_wrong_use_is_told(make, error, words, scans):
    with pytest.raises(error) as raised:
        make(plain(), scans)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_layer_that_runs_twice_is_refused(scans):
    class Twice(Plain):
        def forward(self, x):
            return super().forward(x) + super().forward(x)

    with pytest.raises(ValueError, match="more than once"):
        GradCAM(randomised(Twice()).double(), "conv2")(scans)


def test_a_layer_without_influence_is_refused(scans):
    class Aside(Plain):
        def forward(self, x):
            self.conv1(x)
            return super().forward(x.detach()).detach()

    with pytest.raises(ValueError, match=r"more than once|does not depend"):
        GradCAM(randomised(Aside()).double(), "conv2")(scans)


def test_several_layers_give_one_map_each(scans):
    model = plain()
    explain = GradCAM(model, ["conv1", model.relu2, "pool"])
    found = explain.run(scans, target=1)
    assert found.heatmap.shape == (3, 3, 12, 13, 15)
    assert found.method == "gradcam:layer=conv1+relu2+pool"
    assert [report.evaluations for report in found.reports] == [3, 3, 3]
    for place, layer in enumerate(("conv1", "relu2", "pool")):
        assert torch.equal(found.heatmap[:, place], GradCAM(model, layer)(scans, target=1))
