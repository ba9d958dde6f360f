"""Causal truth, agreement with it, masses, baselines and paired intervals equal their slow references."""

import numpy as np
import pytest
import torch
from networks import Plain, randomised
from reference import localization as slow_localization
from reference import truth as slow

from pyadx.evaluation import (
    bootstrap_difference,
    causal_truth,
    deletion_insertion,
    edge_map,
    localization,
    random_map,
    region_truth,
    smoothed_mass,
    truth_agreement,
)

pytest.importorskip("scipy")


def patient(channels=1, shape=(8, 9, 11), seed=0):
    """A network, a scan and its twin, which differ in the middle only; float64, not contiguous."""
    torch.manual_seed(seed)
    model = randomised(Plain(channels)).double().eval()
    model.head[-1].weight.data *= 0.05  # probabilities that can move
    model.head[-1].bias.data.zero_()
    twin = torch.rand(channels, *shape[::-1], dtype=torch.float64).permute(0, 3, 2, 1)
    scan = twin.clone()
    scan[:, 2:7, 3:8, 4:] += 0.5 * torch.rand(channels, 5, 5, shape[2] - 4, dtype=torch.float64)
    return model, scan, twin


@pytest.mark.parametrize(("channels", "window", "score"), [(1, 3, "logit"), (2, 4, "probability")])
def test_causal_truth_equals_one_forward_per_window(channels, window, score):
    model, scan, twin = patient(channels)
    expected = slow.causal_truth(model, scan, twin, 1, window, score)
    found = causal_truth(model, scan, twin, 1, window=window, score=score, engine="incremental")
    scale = np.abs(expected).max()
    assert scale > 1e-4
    assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-6 * scale)  # maps are float32
    full = causal_truth(model, scan[None], twin[None], 1, window=window, score=score, engine="full")
    assert torch.allclose(found, full, rtol=0, atol=1e-6 * scale)
    assert (found < 0).any() or (found > 0).any()
    untouched = np.zeros(expected.shape, bool)
    untouched[:, :, : 4 - window] = True
    assert (found.numpy()[untouched] == 0).all()


def test_the_truth_of_regions_equals_a_forward_each():
    model, scan, twin = patient(2)
    random = np.random.default_rng(0)
    masks = {"some": random.random(scan.shape[1:]) < 0.3, "all": np.ones(scan.shape[1:], bool)}
    masks["equal"] = (scan == twin).all(0).numpy()
    found = region_truth(model, scan, twin, masks, 1, score="logit")
    for name, mask in masks.items():
        expected = slow.region_truth(model, scan, twin, mask, 1, "logit")
        assert found[name] == pytest.approx(expected, abs=1e-12)
    assert found["equal"] == 0
    assert found["all"] != 0


def test_pairs_that_do_not_fit_are_told():
    model, scan, twin = patient()
    for change, words in [
        ({"twin": scan}, "the same everywhere"),
        ({"twin": twin[:, 1:]}, "its twin"),
        ({"twin": twin * torch.nan}, "NaN"),
        ({"volume": torch.stack([scan, scan])}, "must be one scan"),
    ]:
        given = {"volume": scan, "twin": twin, **change}
        with pytest.raises(ValueError, match=words):
            causal_truth(model, target=1, score="logit", **given)
    with pytest.raises(ValueError, match="mask has shape"):
        region_truth(model, scan, twin, {"r": np.ones((2, 2, 2), bool)}, 1, score="logit")


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_agreement_equals_counting(ties, share):
    random = np.random.default_rng(3)
    truth, heat = random.normal(size=(2, 7, 6, 9))
    heat += truth
    if ties:
        truth, heat = np.rint(2 * truth), np.rint(heat)
    inside = random.random(truth.shape) < 0.7
    found = truth_agreement(torch.from_numpy(heat), truth, inside, strongest=share)
    part = slow.strongest_part(truth[inside], share)
    assert found.rank == pytest.approx(slow.spearman(np.abs(heat[inside]), np.abs(truth[inside])))
    assert found.rank_signed == pytest.approx(slow.spearman(heat[inside], truth[inside]))
    expected = slow_localization.average_precision(np.abs(heat[inside]), part)
    assert found.average_precision == pytest.approx(expected)
    assert found.prevalence == part.mean()
    # The order of voxels decides nothing.
    order = random.permutation(inside.sum())
    assert truth_agreement(heat[inside][order], truth[inside][order], strongest=share) == found


def test_a_truth_that_is_mostly_zero_takes_no_zero_in_and_a_flat_map_agrees_with_nothing():
    truth = np.zeros((10, 10, 10))
    truth[0, 0, :3] = 1, -2, 3
    found = truth_agreement(truth, truth)
    assert found.prevalence == 3 / 1000
    assert found.average_precision == found.rank == found.rank_signed == pytest.approx(1)
    flat = truth_agreement(np.ones_like(truth), truth)
    assert (flat.rank, flat.rank_signed) == (0, 0)
    assert flat.average_precision == pytest.approx(3 / 1000)
    opposite = truth_agreement(-truth, truth)
    assert opposite.rank == pytest.approx(1)
    assert opposite.rank_signed == pytest.approx(-1)


def test_masks_and_maps_can_be_tensors():
    random = torch.Generator().manual_seed(0)
    heat, truth, inside = torch.rand(3, 3, 4, 5, generator=random)
    inside = inside > 0.3
    expected = truth_agreement(heat.numpy(), truth.numpy(), inside.numpy())
    assert truth_agreement(heat, truth, inside) == expected
    assert localization(heat, {"region": truth > 0.5}, inside) == localization(
        heat.numpy(), {"region": (truth > 0.5).numpy()}, inside.numpy()
    )
    with pytest.raises(TypeError, match="truth"):
        truth_agreement(heat, "truth")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"truth": np.zeros((3, 4, 5))}, "zero on all"),
        ({"truth": np.full((3, 4, 5), np.nan)}, "truth holds NaN"),
        ({"heatmap": np.full((3, 4, 5), np.inf)}, "heatmap holds NaN or infinity"),
        ({"heatmap": np.ones((3, 4, 4))}, "has shape"),
        ({"inside": np.ones((3, 4, 5))}, "bool mask"),
        ({"strongest": 1.0}, "between 0 and 1"),
    ],
)
def test_agreement_tells_bad_input(change, words):
    random = np.random.default_rng(0)
    given = {"heatmap": random.random((3, 4, 5)), "truth": random.random((3, 4, 5)), **change}
    with pytest.raises(ValueError, match=words):
        truth_agreement(**given)


@pytest.mark.parametrize(("spacing", "dilation"), [(2.0, 2), (0.8, 1), (1.3, 0)])
def test_smoothed_mass_equals_the_slow_one(spacing, dilation):
    random = np.random.default_rng(5)
    heat = random.normal(size=(8, 7, 9)) ** 3
    region, inside = random.random((2, *heat.shape)) < np.array([0.02, 0.8]).reshape(2, 1, 1, 1)
    found = smoothed_mass(heat, region, spacing, inside, percentile=90, dilation=dilation)
    sigma = 2 / 2.3548200450309493 / spacing
    assert found == pytest.approx(slow.smoothed_mass(heat, region, inside, sigma, 90, dilation), rel=1e-6)
    assert smoothed_mass(-np.abs(heat), region, spacing) == 0
    with pytest.raises(ValueError, match="region holds no voxel"):
        smoothed_mass(heat, region & False, spacing)
    with pytest.raises(ValueError, match="NaN"):
        smoothed_mass(heat * np.nan, region, spacing)


def test_baselines_are_what_they_say():
    scan = np.random.default_rng(1).random((9, 8, 11))
    assert np.allclose(edge_map(torch.from_numpy(scan), 1.3), slow.edge_map(scan, 1.3), atol=1e-6)
    noise = random_map((20, 21, 22), seed=4)
    assert np.array_equal(noise, random_map((20, 21, 22), seed=4))
    assert not np.array_equal(noise, random_map((20, 21, 22), seed=5))
    assert abs(noise.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.05
    with pytest.raises(ValueError, match="D,H,W"):
        edge_map(scan[0])


def test_paired_intervals_equal_draws_one_by_one_and_are_narrower_than_unpaired_ones():
    random = np.random.default_rng(0)
    hard = random.normal(size=12)  # what both methods share
    one, other = hard + 0.3 + 0.05 * random.normal(size=12), hard + 0.05 * random.normal(size=12)
    draws = np.random.default_rng(7).integers(0, 12, (10_000, 12))
    expected = slow.bootstrap_difference(one.tolist(), other.tolist(), draws.tolist())
    found = bootstrap_difference(one, other, seed=7)
    assert found == pytest.approx(expected)
    assert found[1] > 0.2
    assert found[2] - found[1] < 0.15
    with pytest.raises(ValueError, match="one value per scan"):
        bootstrap_difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize("steps", [1, 6, 11])
def test_srg_is_deletion_from_the_weakest_minus_deletion_from_the_strongest(steps):
    model, scan, twin = patient()
    heat = torch.randint(-3, 4, scan.shape[1:]).float()  # ties
    assert heat.numel() % steps == 0
    found = deletion_insertion(model, scan, heat, 1, steps=steps, fill=twin, score="logit")
    expected = slow.srg(model, scan, heat.numpy(), 1, steps, twin, "logit")
    assert found.srg == pytest.approx(expected, abs=1e-10)
