"""What regions are filled with: values against slow twins, exact scores, clear errors."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from networks import Gap, randomised
from reference import references as twin

import pyadx
from pyadx.explainers.references import fill_of, parse_reference, reference_volume, write_reference
from pyadx.explainers.references.regionwise import Harmonic, RegionMean
from pyadx.explainers.references.tissue import brain_mean, brain_of, local_mean, matched
from pyadx.explainers.references.words import needs_network
from pyadx.explainers.segments import segmented_part
from pyadx.inference.background import background_of
from pyadx.inference.region_fill import RegionFill, members
from pyadx.inference.regions import distinct_regions
from pyadx.ops import fill_tensor

SHAPE = (9, 8, 10)
WORDS = [
    "0",
    "0.3",
    "local",
    "local:3",
    "mean",
    "controls",
    "controls:0.4",
    "region-mean",
    "region-mean:controls",
    "harmonic",
]


@pytest.fixture
def model():
    torch.manual_seed(0)
    own = randomised(Gap(2)).double()
    own.class_names = ("NC", "AD")
    own.references = {"NC": brain(seed=1, noise=0.2)[0]}
    return own


def brain(channels=1, seed=1, shape=SHAPE, noise=0.0):
    """A convex blob of random tissue in a background of 0."""
    random = np.random.default_rng(seed)
    at = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = sum(a**2 for a in at) < 0.9
    tissue = random.uniform(0.2, 1, (channels, *shape)) + noise * random.uniform(0, 1, (channels, *shape))
    return torch.from_numpy(np.where(inside, tissue, 0.0))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sigma", [1.0, (0.7, 1.2, 0.9)])
def test_local_mean_equals_its_twin(channels, sigma):
    volume = brain(channels)
    found = local_mean(volume.transpose(1, 3).contiguous().transpose(1, 3), sigma)
    np.testing.assert_allclose(found.numpy(), twin.local_mean(volume.numpy(), sigma), atol=1e-12)


def test_local_mean_of_even_tissue_is_even_up_to_the_edge():
    volume = (brain() != 0).double() * 0.7
    torch.testing.assert_close(local_mean(volume, 2.0), volume)


def test_mean_is_that_of_the_brain_and_leaves_the_background():
    volume = brain(2)
    found, inside = brain_mean(volume), (volume != 0).any(0)
    for channel, own in zip(found, volume, strict=True):
        assert torch.all(channel[inside] == own[inside].mean())
        assert torch.all(channel[~inside] == 0)


@pytest.mark.parametrize(
    "box", [(2, 2, 3, 6, 5, 7), (4, 4, 4, 5, 5, 5), (0, 2, 3, 4, 5, 8), (3, 1, 0, 9, 8, 10)]
)
def test_harmonic_boxes_and_segments_equal_their_twin(box):
    volume = brain(2)
    fill = Harmonic(volume)
    inside = members(fill, np.array(box))
    random = np.random.default_rng(0)
    part = inside & torch.from_numpy(random.random(tuple(inside.shape)) < 0.6)
    for own in (inside, part):
        if not own.any():
            continue
        try:
            expected = twin.harmonic(volume.numpy(), box, own.numpy())
        except AssertionError:  # two voxels of the brain are as near to one outside
            continue
        found = fill.values(np.array(box), own).numpy()
        np.testing.assert_allclose(found[:, own.numpy()], expected[:, own.numpy()], atol=2e-4)


def test_harmonic_fills_a_linear_ramp_with_itself():
    ramp = torch.arange(9.0, dtype=torch.float64).reshape(1, 9, 1, 1).expand(1, *SHAPE) + 1
    fill = Harmonic(ramp.contiguous())
    box = np.array([2, 2, 2, 7, 6, 7])
    found = fill.values(box, members(fill, box))
    torch.testing.assert_close(found, ramp[:, 2:7, 2:6, 2:7])


def test_region_means_are_those_of_the_regions_brain():
    volume, other = brain(2), brain(2, seed=3)
    box = np.array([0, 1, 2, 6, 7, 5])
    for source in (volume, other):
        fill = RegionMean(volume, source)
        inside = members(fill, box)
        own = source[:, 0:6, 1:7, 2:5][:, inside]
        torch.testing.assert_close(fill.values(box, inside).flatten(), own.mean(1))


@pytest.mark.parametrize("spelling", ["occlusion:window=3,stride=2", "sa3ducm:max_regions=8"])
@pytest.mark.parametrize("word", WORDS)
def test_incremental_equals_full_forwards_for_every_reference(model, spelling, word):
    scan = brain()[None]
    maps = {
        engine: pyadx.explainer(
            f"{spelling},fill={word},signed,score=log_odds,engine={engine}", model, spacing=4.0
        )(scan, 1)
        for engine in ("incremental", "full")
    }
    scale = maps["full"].abs().max()
    assert scale > 0
    assert (maps["incremental"] - maps["full"]).abs().max() <= 1e-6 * scale  # maps are float32


@pytest.mark.parametrize("word", WORDS)
def test_scores_equal_to_ten_digits_and_by_hand(model, word):
    from pyadx.inference import FullScorer, IncrementalScorer
    from pyadx.inference.score import class_score

    volume = brain()
    fill = fill_of(parse_reference(word), volume, model, spacing=4.0)
    boxes = torch.tensor([[1, 2, 3, 5, 6, 7], [0, 0, 0, 9, 8, 10], [4, 4, 4, 5, 5, 5], [0, 0, 0, 3, 3, 3]])
    options = {"fill": fill, "signed": True, "score": "log_odds"}
    fast = IncrementalScorer(model, volume, 1, **options).score(boxes)
    slow = FullScorer(model, volume, 1, **options).score(boxes)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10 * float(slow.abs().max()))
    score = lambda scan: class_score(model(scan[None]), torch.tensor([1]), "log_odds").detach()  # noqa: E731
    regions = distinct_regions(
        volume, boxes, fill if isinstance(fill, RegionFill) else fill_tensor(fill, volume)
    )
    for index, found in zip(regions.inverse, slow, strict=True):
        if index < 0:
            assert found == 0
            continue
        box = regions.boxes[index].tolist()  # without planes that cannot change
        z0, y0, x0, z1, y1, x1 = box
        filled, at = volume.clone(), (slice(None), slice(z0, z1), slice(y0, y1), slice(x0, x1))
        if isinstance(fill, RegionMean | Harmonic):
            inside = fill.brain[at[1:]]
            filled[at] = torch.where(inside, fill.values(np.array(box), inside), filled[at])
        else:
            filled[at] = reference_volume(fill, volume, model)[at]
        torch.testing.assert_close(found, (score(volume) - score(filled))[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("word", WORDS[2:])
def test_a_batch_equals_one_by_one(model, word):
    scans = torch.stack([brain(seed=1), brain(seed=2)])
    explain = pyadx.Occlusion(model, 3, 3, fill=word)
    together = explain(scans, 1)
    for scan, heat in zip(scans, together, strict=True):
        torch.testing.assert_close(explain(scan[None], 1)[0], heat)


def test_matching_gives_both_the_same_mean_where_both_have_brain():
    volume, other = brain(), brain(seed=2) * 37
    other[:, 4] = 0
    found = matched(other[0], volume, "it")
    both = (volume != 0) & (other != 0)
    assert float(found[both].mean()) == pytest.approx(float(volume[both].mean()))
    torch.testing.assert_close(found / other.clamp(min=1e-9), found / other.clamp(min=1e-9))
    standardised = volume - 0.5 * (volume != 0)
    assert torch.equal(matched(other[0], standardised, "it"), other)


def test_a_reference_that_does_not_fit_is_refused_or_told():
    volume = brain()
    half = volume.clone()
    half[:, :5] = 0
    for wrong, words in (
        (torch.full(SHAPE, torch.nan), "NaN"),
        (torch.zeros(SHAPE), "0 everywhere"),
        (torch.ones(3, 3, 3), "shape"),
        (half[0], "covers"),
    ):
        with pytest.raises(ValueError, match=words):
            matched(wrong, volume, "it")
    with pytest.raises(ValueError, match="a channel for each"):
        matched(volume[0], brain(2), "it")
    with pytest.warns(UserWarning, match=r"correlates with the scan by -1\.00"):
        matched(1.2 * (volume[0] != 0) - volume[0], volume, "it")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matched(volume[0] * 2, volume, "it")


def test_a_share_of_the_way_to_controls(model):
    volume = brain()
    whole = reference_volume("controls", volume, model)
    part = reference_volume("controls:0.25", volume, model)
    torch.testing.assert_close(part, volume + 0.25 * (whole - volume), rtol=0, atol=1e-12)
    assert parse_reference("controls:1") == "controls"
    assert parse_reference("controls:0.50") == "controls:0.5"
    assert needs_network("region-mean:controls:0.5")
    assert not needs_network("scan:controls.nii.gz")
    for bad in ("controls:0", "controls:1.5", "controls:half", "controls:nan"):
        with pytest.raises(ValueError, match="there is no reference"):
            parse_reference(bad)


def test_controls_need_a_network_that_carries_them(model):
    model.references = {}
    with pytest.raises(ValueError, match="carries no mean image"):
        pyadx.Occlusion(model, 3, 3, fill="controls")(brain()[None])


def test_a_file_is_handed_over_as_a_volume(model):
    scan, other = brain()[None], brain(seed=9)[0]
    explain = pyadx.Occlusion(model, 3, 3, fill="scan:folder/twin.nii.gz", score="logit")
    with pytest.raises(ValueError, match="hand its volume over"):
        explain(scan)
    expected = pyadx.Occlusion(model, 3, 3, fill=matched(other, scan[0], ""), score="logit")(scan)
    torch.testing.assert_close(explain(scan, reference=other), expected)
    torch.testing.assert_close(explain(scan, reference=other[None].numpy()), expected)
    assert explain.spec.canonical == "occlusion:window=3,stride=3,fill=scan:twin.nii.gz,score=logit"
    with pytest.raises(ValueError, match="shape"):
        explain(scan, reference=other[1:])
    with pytest.raises(ValueError, match="names"):
        pyadx.Occlusion(model, 3, 3)(scan, reference=other)


@pytest.mark.parametrize(
    "word", [*WORDS, "scan:x.nii.gz", "region-mean:scan:x.nii.gz", "region-mean:local:3"]
)
def test_words_are_written_as_they_are_read(word):
    assert write_reference(parse_reference(word)) == word
    assert parse_reference(write_reference(parse_reference(word))) == parse_reference(word)


def test_other_spellings_come_to_the_same():
    assert parse_reference("zero") == 0.0
    assert parse_reference("local:8") == "local"
    assert write_reference(parse_reference("scan:/home/who/twin.nii.gz")) == "scan:twin.nii.gz"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("blur", "'local' here"), ("gaussian", "'local' here"), ("mean_patch", "'region-mean' here"),
        ("mean_img", "'mean' here"), ("local:0", "references:"), ("local:x", "references:"),
        ("nan", "references:"),
        ("inf", "references:"), ("scan:", "references:"), ("", "references:"),
        ("region-mean:harmonic", "depends on the region"), ("Controls", "references:"),
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_the_list(model, word, said):
    with pytest.raises(ValueError, match=said):
        pyadx.Occlusion(model, fill=word)(brain()[None])


def test_no_reference_at_all_is_a_type_error(model):
    for wrong in (None, {"a": 1}, b"local"):
        with pytest.raises(TypeError, match="reference"):
            pyadx.Occlusion(model, fill=wrong)


def test_boxes_of_every_size_are_solved(model):
    volume = brain()
    fill = Harmonic(volume)
    for sizes in itertools.product((1, 2, 5), repeat=3):
        box = np.array([2, 1, 3, 2 + sizes[0], 1 + sizes[1], 3 + sizes[2]])
        inside = members(fill, box)
        if inside.any():
            values = fill.values(box, inside)[:, inside]
            assert float(values.min()) >= float(volume[volume != 0].min()) - 1e-9
            assert float(values.max()) <= float(volume.max()) + 1e-9


def test_a_background_other_than_0_is_what_the_corners_share():
    scan = torch.zeros(2, 9, 8, 7, dtype=torch.float64)
    scan[:, 2:7, 2:6, 2:5] = torch.rand(2, 5, 4, 3, dtype=torch.float64) + 1
    shifted = scan - torch.tensor([3.0, -2.0])[:, None, None, None]  # as a fixed mean leaves it
    assert background_of(scan).flatten().tolist() == [0, 0]
    assert background_of(shifted).flatten().tolist() == [-3, 2]
    assert torch.equal(brain_of(shifted), brain_of(scan))
    offset = shifted - scan
    for make in (brain_mean, lambda volume: local_mean(volume, 1.5)):
        assert torch.allclose(make(shifted), make(scan) + offset, atol=1e-12)
    box = np.array([1, 1, 1, 6, 6, 5])
    for kind in (RegionMean, Harmonic):
        fills = [kind(volume) for volume in (scan, shifted)]
        inside = members(fills[0], box)
        assert torch.equal(members(fills[1], box), inside)
        plain, moved = (fill.values(box, inside) for fill in fills)
        assert torch.allclose(moved, plain + offset[:, :1, :1, :1], atol=1e-9)
    whole = torch.rand(1, 5, 5, 5)
    assert float(background_of(whole)) == 0  # a whole head has noise there
    assert float(background_of(torch.ones(1, 3, 3, 3))) == 0  # nothing else is in it
    assert segmented_part(shifted[:1], None).sum() == 60
