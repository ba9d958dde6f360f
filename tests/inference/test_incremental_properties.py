"""Random small CNNs of every supported layer: incremental scores equal full forwards in float64."""

from unittest import mock

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from networks import randomised
from torch import nn

from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.incremental import lowered_network

triples = lambda low, high: st.tuples(*[st.integers(low, high)] * 3)  # noqa: E731


class Residual(nn.Module):
    def __init__(self, channels, negative):
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm3d(channels)
        self.negative = negative

    def forward(self, x):
        y = self.conv(F.relu(self.bn(x)))
        return x - y if self.negative else y + x


class Dense(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv3d(channels, 3, 3, padding=1)

    def forward(self, x):
        return torch.cat([x, F.relu(self.conv(x))], 1)


class Gate(nn.Module):
    """A local gate: every cell by itself."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 1)

    def forward(self, x):
        return x * self.conv(x).sigmoid() + 0.5 * x


class Pad(nn.Module):
    def __init__(self, amounts, value):
        super().__init__()
        self.amounts, self.value = amounts, value

    def forward(self, x):
        return F.pad(x, self.amounts, value=self.value)


@st.composite
def layer(draw, channels):
    """One layer for so many channels."""
    kind = draw(st.sampled_from([
        "conv", "conv", "conv", "norm", "max", "average", "residual", "dense", "pad", "activation", "gate",
    ]))  # fmt: skip
    if kind == "conv":
        groups = draw(st.sampled_from([1, 1, channels]))
        outputs = groups * draw(st.integers(1, 3)) if groups > 1 else draw(st.integers(1, 20))
        padding = draw(st.sampled_from(["same", *[None] * 4]))
        stride = (1, 1, 1) if padding else draw(triples(1, 3))
        return nn.Conv3d(
            channels, outputs, draw(triples(1, 4)), stride, padding or draw(triples(0, 2)),
            draw(triples(1, 2)), groups, bias=draw(st.booleans()),
        )  # fmt: skip
    if kind == "norm":
        return nn.BatchNorm3d(channels, affine=draw(st.booleans()))
    if kind in ("max", "average"):
        kernel, stride = draw(triples(1, 3)), draw(triples(1, 3))
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        if kind == "max":
            return nn.MaxPool3d(kernel, stride, padding, draw(triples(1, 2)), ceil_mode=draw(st.booleans()))
        return nn.AvgPool3d(
            kernel, stride, padding, ceil_mode=draw(st.booleans()), count_include_pad=draw(st.booleans())
        )
    if kind == "residual":
        return Residual(channels, draw(st.booleans()))
    if kind == "dense":
        return Dense(channels)
    if kind == "gate":
        return Gate(channels)
    if kind == "pad":
        return Pad(
            draw(st.lists(st.integers(-1, 2), min_size=6, max_size=6)), draw(st.sampled_from([0.0, 1.5]))
        )
    return draw(st.sampled_from([
        nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.GELU(),
        nn.ELU(), nn.Softplus(), nn.Hardswish(), nn.Dropout3d(0.5),
    ]))  # fmt: skip


@st.composite
def networks(draw):
    """A network that runs on its grid, and the grid."""
    grid = tuple(draw(st.integers(7, 13)) for _ in range(3))
    channels = draw(st.integers(1, 2))
    probe = torch.zeros(1, channels, *grid)
    layers = []
    for _ in range(draw(st.integers(1, 5))):
        made = draw(layer(probe.shape[1])).eval()
        try:
            after = made(probe)
        except RuntimeError:  # the map is too small for this one
            continue
        if min(after.shape[2:]) < 1:
            continue
        layers.append(made)
        probe = after
        if draw(st.booleans()):
            layers.append(nn.ReLU())
    head = draw(st.sampled_from(["gap", "flatten", "adaptive", "max"]))
    cells = probe[0].numel()
    if head == "gap":
        layers += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(probe.shape[1], 3)]
    elif head == "flatten":
        layers += [
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(cells, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Linear(6, 3),
        ]
    elif head == "adaptive":
        layers += [nn.AdaptiveAvgPool3d((1, 2, 1)), nn.Flatten(), nn.Linear(2 * probe.shape[1], 3)]
    else:
        layers += [nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(probe.shape[1], 3), nn.Sigmoid()]
    return nn.Sequential(*layers), channels, grid


def prepared(network):
    """Random weights of the size that keeps activations in range."""
    randomised(network)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                module.weight *= 3 / module.weight[0].numel() ** 0.5
            if isinstance(module, nn.BatchNorm1d):
                module.running_var += 1
    return network.double().eval()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # shrinking these networks takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(networks(), st.integers(0, 2**31))
def test_any_network_of_supported_layers(made, seed):
    network, channels, grid = made
    network = prepared(network)
    generator = torch.Generator().manual_seed(seed)
    scan = torch.rand(channels, *grid, generator=generator, dtype=torch.float64)
    low = torch.stack([torch.randint(-2, n, (12,), generator=generator) for n in grid], 1)
    boxes = torch.cat([low, low + torch.randint(1, 5, (12, 3), generator=generator)], 1)
    full = FullScorer(network, scan, 1, score="logit")
    # On grids this small whole maps are often predicted to be faster; boxes are what is tested here.
    with mock.patch.object(lowered_network, "best_stop", lambda steps, *rest: (len(steps), 1.0)):
        actual = IncrementalScorer(network, scan, 1, score="logit").score(boxes)
    expected = full.score(boxes)
    # Where next to nothing changes, a full forward shows its rounding: 1e-14 of the score is allowed.
    scale = max(expected.abs().max().item(), 1e-4 * abs(full.reference))
    assert (actual - expected).abs().max() <= 1e-10 * scale
