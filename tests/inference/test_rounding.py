"""What is constant, infinite or NaN in a filled scan is so in incremental scoring, too."""

from dataclasses import replace
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from networks import lively, randomised
from torch import nn

from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.incremental import lowered_network
from pyadx.inference.incremental.trace import KeptTrace

NOT_FINITE = "output holds NaN or infinity"


class Net(nn.Sequential):
    """Layers, then global averages and a linear layer."""

    def __init__(self, channels, *layers):
        super().__init__(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(channels, 2))


def brain(size, channels=1, seed=0, outside=0.0):
    """A scan with a foreground of random values, and a margin of one value."""
    volume = torch.full((channels, *size), outside, dtype=torch.float64)
    values = torch.rand(volume.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    inner = (slice(None), *(slice(2, n - 3) for n in size))
    volume[inner] = values[inner] + 0.1
    return volume


def foreground(volume, cut=0):
    z, y, x = volume.shape[1:]
    return [2 + cut, 2, 2, z - 3, y - 3, x - 3]


def assert_equal(network, volume, boxes, fill=0.0, stops=(None,)):
    """Incremental scores are those of full forwards; with a stop boxes go that far, whatever it costs."""
    made = {"score": "logit", "fill": fill, "signed": True}
    expected = FullScorer(network, volume, 1, batch_size=1, **made).score(torch.tensor(boxes))
    best, tracer = lowered_network.best_stop, KeptTrace()
    for stop in stops:
        choice = best if stop is None else lambda all_, *rest, stop=stop: (min(stop, len(all_)), 1.0)
        with mock.patch.object(lowered_network, "best_stop", choice):
            scorer = IncrementalScorer(
                network, volume, 1, tracer=lambda *given: replace(tracer(*given), kept={}), **made
            )
            actual = scorer.score(torch.tensor(boxes))
        assert (actual - expected).abs().max() <= 1e-10 * max(1.0, expected.abs().max()), stop
    return expected


def test_segresnet_with_all_of_the_foreground_filled():
    """Its encoder: convolutions without bias, group norm, group norm, group norm."""
    nets = pytest.importorskip("monai.networks.nets")

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nets.SegResNet(3, 8, in_channels=1, blocks_down=(1, 2, 2), blocks_up=(1, 1))
            self.head = nn.Linear(32, 2)

        def forward(self, x):
            return self.head(self.net.encode(x)[0].mean((2, 3, 4)))

    torch.manual_seed(0)
    network = Encoder().double().eval()
    volume = brain((17, 16, 18))
    z, y, x = volume.shape[1:]
    boxes = [foreground(volume), [0, 0, 0, z, y, x], foreground(volume, 1), [5, 5, 5, 8, 8, 8]]
    expected = assert_equal(network, volume, boxes, stops=(None, 0, 1, 99))
    assert expected[0].abs() > 1e-3


NORMS = {
    "group": lambda c: nn.GroupNorm(2, c),
    "instance": lambda c: nn.InstanceNorm3d(c, affine=True),
    "layer": lambda c: nn.GroupNorm(1, c),
    "layer norm": lambda c: ChannelsLast(c),
    "by hand": lambda c: ByHand(),
    "weights standardised by variance": lambda c: ByVariance(),
    "length": lambda c: UnitLength(),
}


class ChannelsLast(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


class ByHand(nn.Module):
    def forward(self, x):
        centred = x - x.mean((2, 3, 4), keepdim=True)
        return centred * torch.rsqrt(centred.square().mean((2, 3, 4), keepdim=True) + 1e-5)


class ByVariance(nn.Module):
    def forward(self, x):
        return (x - x.mean((2, 3, 4), keepdim=True)) / (x.std((2, 3, 4), keepdim=True) + 1e-4)


class UnitLength(nn.Module):
    def forward(self, x):
        return nn.functional.normalize(x, dim=1)


@pytest.mark.parametrize("name", NORMS)
def test_every_kind_of_normalisation_with_all_of_the_foreground_filled(name):
    def block(a, b):
        return [nn.Conv3d(a, b, 3, padding=1, bias=False), NORMS[name](b), nn.ReLU()]

    network = lively(Net(4, *block(1, 4), *block(4, 4), *block(4, 4)).double(), brain((10, 11, 12))[None])
    volume = brain((10, 11, 12))
    boxes = [foreground(volume), foreground(volume, 2), [4, 4, 4, 6, 6, 6]]
    assert_equal(network, volume, boxes, stops=(0, 1, 2, 99))


def test_a_channel_that_is_closed_in_the_scan_stays_closed():
    """ReLU before the norm: all that a filled window leaves of the channel is rounding above zero."""
    layers = [nn.Conv3d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.InstanceNorm3d(2)]
    for _ in range(7):  # each by itself, so that nothing drowns the rounding
        layers += [nn.Conv3d(2, 2, 1, groups=2, bias=False), nn.InstanceNorm3d(2)]
    network = randomised(Net(2, *layers, nn.ReLU())).double().eval()
    with torch.no_grad():
        network[0].weight.abs_().add_(0.01)[0].neg_()
    boxes = [[2, 2, 2, 8, 8, 8], [1, 3, 3, 7, 9, 10]]
    assert_equal(network, brain((14, 13, 12)), boxes, stops=(0, 1, 99))


@settings(
    max_examples=24, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(st.data())
def test_random_networks_with_norms_and_regions_that_leave_little(data):
    draw = data.draw
    channels, layers = draw(st.integers(1, 2)), []
    width = channels
    for _ in range(draw(st.integers(1, 3))):
        wider = draw(st.sampled_from([2, 4]))
        kernel = draw(st.sampled_from([1, 3]))
        bias = draw(st.booleans())
        layers.append(nn.Conv3d(width, wider, kernel, draw(st.integers(1, 2)), kernel // 2, bias=bias))
        extra = draw(st.sampled_from(["none", "relu", "pool"]))
        layers += {"none": [], "relu": [nn.ReLU()], "pool": [nn.MaxPool3d(2, 1)]}[extra]
        layers.append(NORMS[draw(st.sampled_from(["group", "instance", "layer", "layer norm"]))](wider))
        layers += [nn.ReLU()] * draw(st.integers(0, 1))
        width = wider
    network = lively(Net(width, *layers), torch.rand(2, channels, 12, 13, 11), draw(st.integers(0, 99)))
    outside = draw(st.sampled_from([0.0, 0.0, 0.25]))
    volume = brain((12, 13, 11), channels, draw(st.integers(0, 99)), outside)
    z, y, x = volume.shape[1:]
    boxes = [foreground(volume), foreground(volume, draw(st.integers(1, 4))), [0, 0, 0, z, y, x]]
    assert_equal(network.double(), volume, boxes, outside, stops=(None, 0, 1, 2, 99))


def test_ordinary_windows_are_not_scored_by_full_forwards(monkeypatch):
    """Networks with norms keep what boxes gain: nothing of theirs is doubtful."""
    network = lively(
        Net(8, nn.Conv3d(1, 8, 3, bias=False), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 8, 3),
            nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv3d(8, 8, 3), nn.InstanceNorm3d(8)),
        torch.rand(2, 1, 14, 14, 14),
    ).double()  # fmt: skip
    full = []
    original = IncrementalScorer._full_forward
    monkeypatch.setattr(IncrementalScorer, "_full_forward", lambda *args: full.append(1) or original(*args))
    volume = brain((14, 14, 14))
    low = torch.cartesian_prod(*[torch.arange(0, 11, 2)] * 3)
    IncrementalScorer(network, volume, 1).score(torch.cat([low, low + 3], 1))
    assert not full


class LogOfEnergy(nn.Module):
    """Tells zero from next to zero, cell by cell."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "log":
            return (x.square() + 1e-30).log()
        if self.kind == "quotient":
            return x / (x.abs() + 1e-20)
        return (x.abs() + 1e-40).pow(0.25)


@pytest.mark.parametrize("kind", ["log", "quotient", "root"])
def test_operations_that_tell_zero_from_next_to_zero(kind):
    network = randomised(Net(4, nn.Conv3d(1, 4, 3, bias=False), LogOfEnergy(kind), nn.Conv3d(4, 4, 1)))
    volume = brain((10, 11, 12))
    boxes = [foreground(volume), foreground(volume, 2), [4, 4, 4, 8, 8, 8]]
    assert_equal(network.double().eval(), volume, boxes, stops=(99,))


def overflowing():
    """Infinity after the first layer, infinity minus infinity after the second."""
    network = Net(2, nn.Conv3d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv3d(2, 2, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        network[0].weight.fill_(1e10)
        network[2].weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).reshape(2, 2, 1, 1, 1))
    return network.eval()


LATER = {
    "relu": [], "max": [nn.MaxPool3d(2)], "average": [nn.AvgPool3d(3, 1, 1)], "scale": [nn.BatchNorm3d(2)],
    "pointwise": [nn.Softplus()], "pad": [nn.ConstantPad3d(1, 0.5)], "hard": [nn.Hardtanh()],
    "max then norm": [nn.MaxPool3d(2), nn.GroupNorm(1, 2)],
}  # fmt: skip


@pytest.mark.parametrize("name", LATER)
@pytest.mark.parametrize("fill", [1e30, -1e30])
def test_a_filled_scan_that_overflows_is_refused_as_full_forwards_refuse_it(name, fill, generator):
    network = overflowing()
    layers = list(network)
    network = nn.Sequential(*layers[:4], *LATER[name], *layers[4:]).eval()
    volume = torch.rand(1, 8, 8, 8, generator=generator)
    box = torch.tensor([[2, 2, 2, 5, 5, 5]])
    results = []
    for kind in (FullScorer, IncrementalScorer):
        with mock.patch.object(lowered_network, "best_stop", lambda steps, *rest: (len(steps), 1.0)):
            try:
                results.append(kind(network, volume, 1, score="logit", fill=fill).score(box))
            except ValueError as error:
                results.append(str(error))
    if isinstance(results[0], str):
        assert NOT_FINITE in results[0]
        assert results[1] == results[0]
    else:
        assert torch.allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


def test_infinity_that_the_network_itself_makes_finite_again_is_no_reason_to_refuse(generator):
    class Saturating(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(1, 3, 3)
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(torch.nan_to_num((self.conv(x) * 1e30).exp(), posinf=2.0).mean((2, 3, 4)))

    network = randomised(Saturating()).eval()
    volume = torch.rand(1, 8, 8, 8, generator=generator)
    boxes = torch.tensor([[2, 2, 2, 5, 5, 5], [0, 0, 0, 8, 8, 8]])
    actual, expected = (
        kind(network, volume, 1, score="logit").score(boxes) for kind in (IncrementalScorer, FullScorer)
    )
    assert torch.allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_segments_leave_the_voxels_outside_them_alone_however_large_the_fill(generator):
    from pyadx.inference.engines import RegionScorer
    from pyadx.inference.segments import distinct_segments

    network = randomised(Net(2, nn.Conv3d(1, 2, 3), nn.Tanh())).eval()
    volume = torch.rand(1, 8, 8, 8, generator=generator)
    labels = torch.zeros(8, 8, 8, dtype=torch.int64)
    labels[2:5, 2:6, 3:5], labels[3, 3, 3] = 1, 2
    scores = []
    for engine in ("incremental", "full"):
        scorer = RegionScorer(engine, network, volume, 1, fill=3e38, score="logit")
        regions = distinct_segments(volume, labels, [(1, 2), (1, 3)], scorer.fill)
        scores.append(regions.spread(scorer.score_regions(regions)))
    assert torch.allclose(*scores, rtol=1e-4, atol=1e-6)
