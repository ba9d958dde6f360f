"""Grad-CAM++, XGrad-CAM, LayerCAM and HiResCAM: what they share with Grad-CAM is tested with it."""

import itertools

import numpy as np
import pytest
import torch
from networks import Gap, Plain, randomised
from reference import cam as reference
from torch import nn

import pyadx
from pyadx import CAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM

METHODS = {"gradcampp": GradCAMPlusPlus, "xgradcam": XGradCAM, "layercam": LayerCAM, "hirescam": HiResCAM}
# Where the cells of these layers are centred: cell = scale * voxel + offset.
CENTRES = {"conv1": (1, -1), "bn1": (1, -1), "relu1": (1, -1), "pool": (0.5, -0.75), "conv2": (0.5, -0.75)}


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture
def scans(generator):
    return torch.rand(3, 2, 12, 9, 11, generator=generator, dtype=torch.float64) - 0.2


def close(found, expected, rtol=1e-6):
    """To the rounding of a float32 map."""
    return torch.allclose(found.double(), expected, rtol=rtol, atol=1e-7 * expected.abs().max().item())


def expected_map(name, model, layer, *arguments, **named):
    # In-place activations would overwrite the maps that the twin keeps.
    model.relu1.inplace = model.relu2.inplace = False
    try:
        return reference.gradient_map(name, model, model.get_submodule(layer), *arguments, **named)
    finally:
        model.relu1.inplace = model.relu2.inplace = True


@pytest.mark.parametrize(
    ("rectify", "score", "align"),
    [
        *itertools.product(["abs", "relu", "none"], ["logit", "probability"], ["stretch"]),
        ("none", "logit", "receptive_field"),
    ],
)
def test_equals_the_papers_formula_through_full_autograd(name, rectify, score, align, scans):
    model = randomised(Plain(2, classes=3)).double().eval()
    # Flipped and permuted: no axis of the memory is that of the scan.
    scans = scans.flip(2).permute(0, 1, 4, 2, 3)
    explain = METHODS[name](model, list(CENTRES), rectify, score=score, align=align)
    found = explain(scans, target=[1, 0, 2])
    assert found.shape == (3, len(CENTRES), 11, 12, 9)
    for place, (layer, (scale, offset)) in enumerate(CENTRES.items()):
        axes = {"scale": [scale] * 3, "offset": [offset] * 3} if align == "receptive_field" else {}
        expected = expected_map(name, model, layer, scans, [1, 0, 2], rectify, score, **axes)
        assert expected.abs().max() > 0
        assert close(found[:, place], expected), layer


def test_each_scan_of_a_batch_has_a_map_of_its_own(name, scans):
    model = randomised(Plain(2, classes=4)).double().eval()
    together = METHODS[name](model, "pool", "none")(scans)
    alone = torch.cat([METHODS[name](model, "pool", "none", batch_size=1)(scan) for scan in scans])
    assert close(together, alone.double())


def test_grad_cam_plus_plus_is_monais_up_to_a_factor_where_gradients_are_the_same_in_all_cells(generator):
    """Elsewhere MONAI differs from the paper: it sums f(x) g(x)^3 where that has g(x)^3 times the sum of f.

    It also adds 1e-7 to the denominator, multiplies by exp(score), and inverts the map at its end.
    """
    monai = pytest.importorskip("monai.visualize")
    model = randomised(Gap(3)).double().eval()
    scan = torch.rand(1, 1, 7, 5, 6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.fc.weight *= 1e4  # next to squared gradients of this size 1e-7 is nothing
        model.fc.bias -= model(scan)[0]  # and exp(score) is 1
    for target in range(3):
        theirs = monai.GradCAMpp(model, "act", postprocessing=lambda heat: heat)(scan, target)[
            :, 0
        ].detach()
        ours = GradCAMPlusPlus(model, "act")(scan, target=target).double()
        assert ours.max() > 0
        assert close(ours, theirs)


def test_layers_that_are_averaged_before_a_linear_output(scans):
    """There the gradient is the same in every cell: the output layer's weight over the number of cells."""
    model = randomised(Gap()).double().eval()
    scans, target = scans[:, :1], 1
    kept = {}
    handle = model.act.register_forward_hook(lambda module, args, out: kept.update(f=out.detach()))
    model(scans)
    handle.remove()
    features, cells = kept["f"], scans[0, 0].numel()
    weights = model.fc.weight.detach()[target].expand(3, -1) / cells
    assert (weights < 0).any()
    assert (weights > 0).any()

    def by_hand(own):
        return reference.weighted_cam(features, own, scans.shape[2:], "none")

    def found(method):
        return method(model, "act", rectify="none")(scans, target=target)

    assert close(found(HiResCAM), by_hand(weights))
    assert close(found(XGradCAM), by_hand(weights))
    assert close(found(LayerCAM), by_hand(weights.clamp(min=0)))
    totals = features.sum((2, 3, 4))
    assert close(found(GradCAMPlusPlus), by_hand(cells * weights.clamp(min=0) / (2 + totals * weights)))
    assert close(found(HiResCAM), GradCAM(model, "act", "none")(scans, target=target).double())
    assert close(found(HiResCAM) * cells, CAM(model, "none")(scans, target=target).double())


def test_cells_sum_to_what_linear_layers_make_of_them(scans):
    """HiResCAM's and XGrad-CAM's; neither averaging nor positive gradients alone keep the sum."""
    shape = scans.shape[2:]
    model = nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(3 * int(np.prod(shape)), 2))
    model = randomised(model).double()
    expected = (model(scans) - model[3].bias)[:, 0].detach()

    def sums(method):
        return method(model, "1", rectify="none")(scans, target=0).double().sum((1, 2, 3))

    assert torch.allclose(sums(HiResCAM), expected, rtol=1e-5)
    assert torch.allclose(sums(XGradCAM), expected, rtol=1e-5)
    assert not torch.allclose(sums(GradCAM), expected, rtol=0.01)
    assert not torch.allclose(sums(LayerCAM), expected, rtol=0.01)


def test_maps_that_are_zero_or_have_no_gradient_add_nothing(name, scans):
    whole, part = randomised(Gap()).double(), randomised(Gap()).double()
    with torch.no_grad():
        for model in (whole, part):
            model.conv1.weight[0] = model.conv1.bias[0] = 0  # nothing goes on from the first map ...
            model.conv2.weight[0] = model.conv2.bias[0] = 0  # ... so that it is 0 behind the ReLU
            model.fc.weight[:, 1] = 0  # the second has no gradient
        part.fc.weight[:, 0] = 0
    found = [METHODS[name](model, "act", "none")(scans[:, :1], target=1) for model in (whole, part)]
    assert torch.isfinite(found[0]).all()
    assert found[0].abs().max() > 0
    assert torch.equal(*found)


def test_a_denominator_of_zero_gives_a_weight_of_zero():
    features = torch.tensor([-1.0, -1.0, 1.0, -1.0]).reshape(1, 2, 1, 1, 2)
    explain = GradCAMPlusPlus(Gap()), XGradCAM(Gap())
    # The maps sum to -2 and 0. 2 g^2 - 2 g^3 is 0 where g is 1; XGrad-CAM divides by the sum.
    gradient = torch.tensor([1.0, 0.5, 3.0, 3.0]).reshape(1, 2, 1, 1, 2)
    (_, plus), (_, axiom) = (own._combined(gradient, features) for own in explain)
    assert plus.tolist() == [[0.5, 3.0]]
    assert axiom.tolist() == [[0.75, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_small_gradients_do_not_vanish_when_they_are_squared(name, dtype):
    features = torch.ones(1, 1, 2, 3, 2, dtype=dtype)
    size = 2.0**-14 if dtype == torch.float16 else 2.0**-100
    maps, weights = METHODS[name](Gap())._combined(torch.full_like(features, size), features)
    summed = (maps.float() * weights[:, :, None, None, None]).sum(1)
    expected = 12 * size / (2 + 12 * size) if name == "gradcampp" else size
    assert torch.allclose(summed, torch.full_like(summed, expected), rtol=1e-5, atol=0)


def test_the_map_is_where_the_evidence_is(name):
    model = Gap().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.conv1.weight[0, 0, 1, 1, 1] = 1.0
        model.fc.weight[1, 0] = 1.0
    scan = torch.zeros(1, 9, 9, 9, dtype=torch.float64)
    scan[0, 2, 3, 4] = 1.0
    heatmap = METHODS[name](model, "act")(scan, target=1)[0]
    assert heatmap.argmax() == scan.argmax()
    assert heatmap.min() == 0
    against = METHODS[name](model, "act")(-scan + 1, target=0)[0]
    assert (against == 0).all()


def test_defaults_are_the_published_ones(name):
    spec = METHODS[name](Gap()).spec
    assert spec.options["rectify"] == ("none" if name == "hirescam" else "relu")
    assert spec.options["score"] == "logit"
    assert spec.canonical == name + ":layer=conv2"
    paper = pyadx.explainer(f"{name}:paper,layer=act", Gap())
    assert type(paper) is METHODS[name]
    assert paper.spec.canonical == f"{name}:layer=act"


def test_a_layer_without_influence_is_refused(name, scans):
    class Aside(Gap):
        def forward(self, x):
            return super().forward(x.detach()).detach()

    with pytest.raises(ValueError, match="does not depend"):
        METHODS[name](randomised(Aside()).double(), "conv1")(scans[:, :1])
