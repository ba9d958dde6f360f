"""Scans of several channels (T1 and FLAIR, say): all are filled, and maps are of the whole scan."""

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from torch import nn

import pyadx
from pyadx.evaluation.faithfulness import deletion_insertion
from pyadx.evaluation.truth import causal_truth, region_truth
from pyadx.explainers.references import fill_of
from pyadx.explainers.references.tissue import matched
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.region_fill import RegionFill, fill_region
from pyadx.inference.score import class_score
from pyadx.segmentation import ucm

SHAPE = (9, 8, 10)
METHODS = [
    "cam", "gradcam", "gradcam:align=receptive_field", "inputxgradient", "smoothgrad:samples=2",
    "integratedgradients:steps=4", "deeplift", "occlusion:window=3,stride=3", "sa3ducm:max_regions=6",
]  # fmt: skip
REFERENCES = [
    0.0, "local", "local:6", "mean", "region-mean", "harmonic", "scan:other", "region-mean:scan:other",
    "per channel", "volume",
]  # fmt: skip


class SeveralChannels(nn.Module):
    """Convolutions over all channels, global average pooling, a linear layer."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.act1 = nn.Conv3d(channels, 4, 3, padding=1), nn.ReLU()
        self.conv2, self.act2 = nn.Conv3d(4, 5, 3, padding=1), nn.ReLU()
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        return self.fc(self.act2(self.conv2(self.act1(self.conv1(x)))).mean((2, 3, 4)))


def network(channels):
    own = randomised(SeveralChannels(channels)).double().eval()
    with torch.no_grad():
        own.fc.weight *= 0.1 * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    return own


def brain(channels, seed=0):
    """A scan with background, whose channels have scales and contrasts of their own."""
    volume = torch.rand(
        channels, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    volume = (volume + 0.2) * torch.tensor([1.0, 50.0, 3.0])[:channels, None, None, None]
    volume[:, :2] = 0
    volume[:, :, :, 8:] = 0
    return volume


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("reference", REFERENCES)
def test_every_reference_fills_every_channel_with_the_scores_of_full_forwards(channels, reference):
    model, volume = network(channels), brain(channels)
    given = 0.9 * brain(channels) + 0.1 * brain(channels, seed=1)
    if reference == "per channel":
        reference = [0.1, 20.0, 2.0][:channels]
    elif reference == "volume":
        reference = brain(channels, seed=4)
    fill = fill_of(reference, volume, model, given=given)
    boxes = torch.tensor([[2, 2, 3, 5, 6, 7], [2, 0, 0, 9, 8, 8], [4, 4, 4, 5, 5, 5], [0, 0, 0, 4, 3, 3]])
    options = {"fill": fill, "signed": True, "score": "log_odds"}
    fast = IncrementalScorer(model, volume, 1, **options).score(boxes)
    slow = FullScorer(model, volume, 1, **options).score(boxes)
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-10 * float(slow.abs().max()))
    score = lambda scan: class_score(model(scan[None]), torch.tensor([1]), "log_odds").detach()  # noqa: E731
    expected = []
    for box in boxes.tolist():
        z0, y0, x0, z1, y1, x1 = box
        filled, at = volume.clone(), (slice(None), slice(z0, z1), slice(y0, y1), slice(x0, x1))
        if isinstance(fill, RegionFill):
            inside = fill.brain[at[1:]].nonzero()
            low, high = inside.min(0).values, inside.max(0).values + 1
            first = torch.tensor([z0, y0, x0])
            fill_region(filled, fill, torch.cat([first + low, first + high]).numpy())
        else:
            values = torch.as_tensor(fill, dtype=torch.float64)
            values = values[:, None, None, None] if values.dim() == 1 else values
            filled[at] = values.expand_as(volume)[at]
        if z1 - z0 > 1:  # the mean of a single voxel is the voxel
            assert (filled != volume).flatten(1).any(1).all()  # in every channel
        expected.append(score(volume) - score(filled))
    torch.testing.assert_close(slow, torch.cat(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("channels", [2])
@pytest.mark.parametrize("spelling", METHODS)
def test_every_method_explains_scans_of_several_channels(spelling, channels):
    model = network(channels)
    scans = torch.stack([brain(channels), brain(channels, seed=1)])
    explain = pyadx.explainer(spelling, model, spacing=2.0)
    found = explain.run(scans, target=[1, 2])
    assert found.heatmap.shape == (2, *SHAPE)
    assert found.heatmap.abs().max() > 0
    assert torch.allclose(found.outputs, model(scans))
    alone = torch.cat([explain(scans[0], target=1), explain(scans[1], target=2)])
    assert torch.allclose(found.heatmap, alone, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("spelling", METHODS)
def test_a_channel_that_the_network_does_not_look_at_changes_nothing(spelling):
    """So a network on one channel and the same one with a blind second channel give one map."""
    blind, plain = network(2), network(1)
    with torch.no_grad():
        blind.conv1.weight[:, 1] = 0
        blind.conv1.weight[:, 0] = plain.conv1.weight[:, 0]
        for name in ("conv1.bias", "conv2.weight", "conv2.bias", "fc.weight", "fc.bias"):
            blind.get_parameter(name).copy_(plain.get_parameter(name))
    if spelling.startswith("smoothgrad"):
        spelling += ",noise=0"  # its width follows the range of all channels
    scan = brain(2)[None]
    first = pyadx.explainer(spelling, blind, spacing=2.0)(scan, target=1)
    assert torch.allclose(first, pyadx.explainer(spelling, plain, spacing=2.0)(scan[:, :1], target=1))


@pytest.mark.parametrize("engine", ["full", "incremental"])
def test_a_network_with_pooling_and_batch_norm_is_exact_on_three_channels(engine):
    model, volume = randomised(Plain(3)).double().eval(), brain(3)
    heat = pyadx.explainer(f"occlusion:window=4,stride=4,engine={engine}", model, spacing=2.0)(volume, 1)
    other = pyadx.explainer("occlusion:window=4,stride=4,engine=full", model, spacing=2.0)(volume, 1)
    assert torch.allclose(heat, other, rtol=1e-6, atol=1e-9)


def test_masks_truth_and_faithfulness_take_several_channels():
    model, volume, twin = network(2), brain(2), brain(2, seed=1)
    inside = np.zeros(SHAPE, bool)
    inside[3:6, 2:6, 1:7] = True
    for spelling in METHODS[-2:]:
        heat = pyadx.explainer(spelling, model, spacing=2.0)(volume, 1, mask=inside)[0]
        assert (heat[~torch.from_numpy(inside)] == 0).all()
        assert heat.abs().max() > 0
    truth = causal_truth(model, volume, twin, 1, window=3, stride=3)
    assert truth.abs().max() > 0
    whole = region_truth(model, volume, twin, {"brain": np.ones(SHAPE)}, 1, score="logit")["brain"]
    with torch.no_grad():
        assert whole == pytest.approx(float((model(volume[None]) - model(twin[None]))[0, 1]))
    for fill in (0.0, "local", "mean", [0.1, 20.0]):
        curves = deletion_insertion(model, volume, truth, 1, steps=5, fill=fill, score="logit")
        with torch.no_grad():
            assert curves.deletion.score[0] == pytest.approx(float(model(volume[None])[0, 1]))


def test_a_reference_scan_has_a_channel_for_each_and_its_intensity_is_matched_in_each():
    model, volume = network(2), brain(2)
    other = volume * torch.tensor([0.5, 4.0])[:, None, None, None]
    torch.testing.assert_close(matched(other, volume, "it"), volume)
    explain = pyadx.explainer("occlusion:window=3,stride=3,fill=scan:other", model)
    one = explain(volume, 1, reference=brain(2, seed=1))
    both = explain(torch.stack([volume, volume]), 1, reference=torch.stack([brain(2, seed=1)] * 2))
    assert torch.equal(both[:1], one)
    with pytest.raises(ValueError, match=r"reference has shape \(9, 8, 10\), the scans \(2, 9, 8, 10\)"):
        explain(volume, 1, reference=brain(2)[0])
    with pytest.raises(ValueError, match="channel 1 of it is 0 everywhere"):
        matched(other * torch.tensor([1.0, 0.0])[:, None, None, None], volume, "it")
    with pytest.warns(UserWarning, match="channel 1 of it correlates"):
        matched(torch.stack([other[0], (volume[1] != 0) * 70 - volume[1]]), volume, "it")


def test_segments_are_those_of_the_first_channel_or_of_the_one_handed_over():
    model, volume = network(2), brain(2)
    spelling = "sa3ducm:max_regions=6,max_levels=3"
    explain = pyadx.explainer(spelling, model, spacing=2.0)
    inside = (volume != 0).any(0).numpy()
    trees = [ucm(own.float(), inside, 2.0, max_regions=6, max_levels=3) for own in volume]
    assert torch.equal(explain(volume, 1), explain(volume, 1, trees[0]))
    assert not torch.equal(explain(volume, 1), explain(volume, 1, trees[1]))
