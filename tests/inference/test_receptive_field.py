import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pyadx import models
from pyadx.inference.errors import UntraceableError
from pyadx.inference.receptive_field import layer_geometry

# Offset and stride of the cells of the paper's layers, as stated for the published networks.
PAPER = [
    ("vggnet", "conv4c", 45.5, 8),
    ("vggnet", "conv2b", 6.5, 2),
    ("resnet", "bn4", 0, 2),
    ("resnet", "voxres9_out", 0, 8),
    ("resnet-gap", "voxres9_out", 0, 8),
    ("resnet-shallow-gap", "relu4", 0, 2),
]


@pytest.mark.parametrize(("name", "layer", "offset", "stride"), PAPER)
def test_paper_layers(name, layer, offset, stride):
    geometry = layer_geometry(models.build(name).eval(), layer, torch.zeros(1, 110, 110, 110))
    assert geometry.offset == (offset,) * 3
    assert geometry.stride == (stride,) * 3


def seen_centre(layer, length, cell):
    """Centre of the voxels that a cell in the middle depends on, from gradients."""
    x = torch.rand(1, 1, length, 5, 5, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    (gradient,) = torch.autograd.grad(out[0, :, cell].sum(), x)
    seen = gradient.abs().sum((0, 1, 3, 4)).nonzero().flatten()
    return (seen[0] + seen[-1]).item() / 2


STEP = st.tuples(
    st.sampled_from(["conv", "avg"]),
    st.integers(1, 4),  # kernel
    st.integers(1, 3),  # stride
    st.integers(0, 2),  # padding
    st.integers(1, 2),  # dilation
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=4))
def test_random_chains_agree_with_gradients(steps):
    layers = []
    for kind, kernel, stride, padding, dilation in steps:
        padding = min(padding, kernel // 2)
        if kind == "conv":
            conv = nn.Conv3d(1, 1, (kernel, 1, 1), (stride, 1, 1), (padding, 0, 0), (dilation, 1, 1))
            nn.init.constant_(conv.weight, 1.0)
            layers.append(conv.double())
        else:
            layers.append(nn.AvgPool3d((kernel, 1, 1), (stride, 1, 1), (padding, 0, 0)))
    model = nn.Sequential(*layers)
    length = 400
    volume = torch.zeros(1, length, 5, 5, dtype=torch.float64)
    geometry = layer_geometry(model, str(len(layers) - 1), volume)
    cells = model(torch.zeros(1, 1, length, 5, 5, dtype=torch.float64)).shape[2]
    cell = cells // 2
    expected = geometry.offset[0] + geometry.stride[0] * cell
    assert seen_centre(model, length, cell) == pytest.approx(expected)


class Functional(nn.Module):
    """Functional poolings, concatenation, an unnamed residual, a nested block."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU())
        self.conv = nn.Conv3d(4, 4, 3, padding="same", dilation=2)
        self.up = nn.Upsample(scale_factor=2)
        self.after = nn.Identity()

    def forward(self, x):
        x = self.block(x)
        x = torch.cat([x, F.relu(x)], 1)
        x = x + self.conv(x)
        x = F.max_pool3d(x, 2)
        x = F.avg_pool3d(x, kernel_size=3, stride=2, padding=1)
        return self.after(self.up(x.contiguous()))


def test_functional_code_and_nested_blocks_are_followed():
    volume = torch.zeros(1, 16, 16, 16)
    geometry = layer_geometry(Functional().eval(), "block", volume)
    assert (geometry.offset, geometry.stride) == ((0, 0, 0), (1, 1, 1))
    # Halved twice to cells of 4 voxels, and resized to cells of 2.
    geometry = layer_geometry(Functional().eval(), "after", volume)
    assert (geometry.offset, geometry.stride) == ((-0.5, -0.5, -0.5), (2, 2, 2))


class Moves(nn.Module):
    """A convolution, some move, a layer that computes nothing, and code that torch.fx cannot read."""

    def __init__(self, how):
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)
        nn.init.constant_(self.conv.weight, 1.0)
        self.end = nn.Identity()
        self.how = how

    def forward(self, x):
        x = self.conv(x)
        if len(x.shape) == 5:  # torch.fx cannot decide this
            x = self.how(x)
        return self.end(x)


@pytest.mark.parametrize(
    "how",
    [
        lambda x: F.pad(x, (0, 0, 0, 0, 3, 1)),
        lambda x: x[:, :, 4:],
        lambda x: x[:, :, -30:-5],
        lambda x: x[:, :, 1::3],
        lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"),
        lambda x: F.interpolate(x, size=(20, 5, 5), mode="trilinear"),
        lambda x: F.prelu(x, torch.ones(1, dtype=x.dtype)) + x.square() * 0,
    ],
    ids=["pad", "crop", "crop from the end", "every third", "nearest", "trilinear", "pointwise"],
)
def test_maps_that_are_moved_or_resized_agree_with_gradients(how):
    model = Moves(how).double().eval()
    length = 40
    geometry = layer_geometry(model, "end", torch.zeros(1, length, 5, 5, dtype=torch.float64))
    cells = model(torch.zeros(1, 1, length, 5, 5, dtype=torch.float64)).shape[2]
    # Resized cells lie between those that they are made of, on either side of one.
    cell = cells // 2
    centres = [seen_centre(model, length, cell + step) for step in range(2)]
    expected = [geometry.offset[0] + geometry.stride[0] * (cell + step) for step in range(2)]
    assert sum(centres) / 2 == pytest.approx(sum(expected) / 2, abs=0.26)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda x: x.transpose(2, 3), "transpose"),
        (lambda x: x + F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], "different places"),
        (lambda x: F.adaptive_avg_pool3d(x, 3), "adaptive_avg_pool3d"),
    ],
)
def test_operations_without_a_fixed_geometry_are_named(how, words):
    with pytest.raises(UntraceableError, match=words):
        layer_geometry(Moves(how).eval(), "end", torch.zeros(1, 40, 5, 5))


def test_control_flow_on_values_is_told():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(1, 1, 3)

        def forward(self, x):
            return self.conv(x) if x.sum() > 0 else self.conv(-x)

    with pytest.raises(UntraceableError, match=r"torch\.export cannot trace"):
        layer_geometry(Branches().eval(), "conv", torch.zeros(1, 9, 9, 9))


def test_the_model_is_left_as_it_was():
    model = Functional().eval()
    layer_geometry(model, "after", torch.zeros(1, 16, 16, 16))
    assert not any(module._forward_hooks for module in model.modules())
