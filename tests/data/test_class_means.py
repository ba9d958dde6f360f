"""Mean images of classes: equal to a slow twin, and nobody can be seen in them."""

from dataclasses import replace

import numpy as np
import pytest
from reference.class_means import brain_mean, class_mean

from pyadx.data.class_means import class_means
from pyadx.models import ModelCard, Preprocessing

SHAPE = (5, 7, 4)
CARD = ModelCard("vggnet", SHAPE, ("NC", "MCI", "AD"))


def with_intensity(intensity, card=CARD):
    return replace(card, preprocessing=Preprocessing(intensity))


def brains(count, seed=0, shape=SHAPE):
    """Brains of different size and brightness, zero outside."""
    random = np.random.default_rng(seed)
    volumes = random.uniform(0.5, 1.5, (count, *shape)) * random.uniform(0.2, 5, (count, 1, 1, 1))
    volumes[random.random(volumes.shape) < 0.1] = 0
    volumes[:, 0] = 0
    return volumes.astype(np.float32)


@pytest.fixture
def labels():
    return np.repeat([0, 2, 1], [11, 8, 9])


@pytest.mark.parametrize("intensity", ["max", "zscore", "none"])
@pytest.mark.parametrize("kind", ["plain", "transposed", "on disk", "float64"])
def test_equals_the_slow_twin_to_half_precision(intensity, kind, labels, tmp_path):
    volumes = brains(len(labels))
    if intensity == "zscore":
        volumes = np.where(volumes != 0, volumes - volumes.mean(), 0).astype(np.float32)
    if kind == "transposed":
        volumes = np.ascontiguousarray(volumes.T).T
        assert not volumes[0].flags.c_contiguous
    if kind == "on disk":
        np.save(tmp_path / "volumes.npy", volumes)
        volumes = np.load(tmp_path / "volumes.npy", mmap_mode="r")
    if kind == "float64":
        volumes = volumes.astype(np.float64)
    which = np.random.default_rng(1).permutation(len(labels))
    card = with_intensity(intensity)
    made = class_means(volumes, labels, which, card)
    assert list(made.images) == list(made.facts) == ["NC", "MCI", "AD"]
    for number, name in enumerate(card.class_names):
        expected = class_mean(volumes, labels, which, number, matched=intensity != "zscore")
        image = made.images[name]
        assert image.dtype == np.float16
        assert np.array_equal(image, expected.astype(np.float16))
        # The nearest float16: half a unit in the last place, or of the smallest number.
        assert (np.abs(image.astype(np.float64) - expected) <= np.abs(expected) * 2.0**-11 + 2.0**-25).all()
        assert made.facts[name]["scans"] == (labels == number).sum()
        assert ("one factor" in made.facts[name]["matching"]) == (intensity != "zscore")


def test_scans_that_do_not_count_change_nothing(labels):
    volumes = brains(len(labels))
    which = np.array([*range(8), *range(11, 28)])
    made = class_means(volumes, labels, which, CARD)
    volumes[8:11] = 1e6
    again = class_means(volumes, labels, which, CARD)
    assert all(np.array_equal(again.images[name], image) for name, image in made.images.items())
    assert made.facts["NC"]["scans"] == 8


def test_brightness_of_single_scans_cannot_matter(labels):
    volumes = brains(len(labels))
    even = np.stack([v / np.float32(brain_mean(v)) for v in volumes])
    made, expected = (
        class_means(v, labels, np.arange(len(labels)), CARD).images["AD"] for v in (volumes, even)
    )
    ratio = made[expected != 0] / expected[expected != 0]
    assert np.allclose(ratio, np.mean([brain_mean(v) for v in volumes]), rtol=2e-3)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 scans"), (1, "1 scan,"), (3, "3 scans"), (7, "7 scans")]
)
def test_classes_of_fewer_than_eight_scans_are_refused(count, words):
    labels = np.repeat([0, 1], [8, count])
    card = replace(CARD, class_names=("NC", "AD"))
    made = class_means(brains(len(labels)), labels, np.arange(len(labels)), card)
    assert list(made.images) == ["NC"]
    assert made.facts["AD"]["scans"] == count
    assert made.facts["AD"]["refused"].startswith(words)
    assert made.facts["AD"]["refused"].endswith("at least 8 are needed")


def test_what_only_single_scans_have_is_not_shown(labels):
    """Such as the face of the one person whose scan still has it."""
    volumes = brains(len(labels))
    volumes[3, 0] = 1
    volumes[:7, 0, 0] = 1
    image = class_means(volumes, labels, np.arange(len(labels)), CARD).images["NC"]
    assert not image[0].any()
    volumes[7, 0, 0] = 1
    image = class_means(volumes, labels, np.arange(len(labels)), CARD).images["NC"]
    assert image[0, 0].all()
    assert not image[0, 1:].any()


def test_a_mean_that_is_next_to_one_scan_is_refused(labels):
    """Scans that were z-scored before cannot be matched, so one may outweigh all others."""
    volumes = np.random.default_rng(0).normal(size=(len(labels), *SHAPE)).astype(np.float32)
    card = with_intensity("none")
    made = class_means(volumes, labels, np.arange(len(labels)), card)
    expected = class_mean(volumes, labels, range(len(labels)), 1, matched=False)
    assert np.array_equal(made.images["MCI"], expected.astype(np.float16))
    assert made.facts["MCI"]["matching"].startswith("none")
    volumes[5] *= 100
    made = class_means(volumes, labels, np.arange(len(labels)), card)
    assert list(made.images) == ["MCI", "AD"]
    assert "one scan makes 9" in made.facts["NC"]["refused"]


@pytest.mark.parametrize("scale", [1e6, 1e-9])
def test_values_beyond_half_precision_are_refused(scale, labels):
    volumes = brains(len(labels)) * np.float32(scale)
    made = class_means(volumes, labels, np.arange(len(labels)), with_intensity("none"))
    assert not made.images
    assert all("do not fit into half precision" in facts["refused"] for facts in made.facts.values())


def test_brains_that_have_no_voxel_in_common_are_refused():
    volumes = np.zeros((16, 16, 4, 4), np.float32)
    for i in range(16):
        volumes[i, i] = 1
    card = replace(CARD, in_shape=(16, 4, 4), class_names=("NC", "AD"))
    made = class_means(volumes, np.arange(16) % 2, np.arange(16), card)
    assert made.facts["NC"]["refused"] == "no voxel is non-zero in 8 scans"


@pytest.mark.parametrize(
    ("change", "which", "words"),
    [
        (lambda v: None, [0, 1, 2, 1], "listed twice"),
        (lambda v: v[2].fill(np.nan), range(28), "scan 2 holds NaN or infinity"),
        (lambda v: v[2].fill(-np.inf), range(28), "scan 2 holds NaN or infinity"),
        (lambda v: v[2].fill(0), range(28), "every voxel of scan 2 is 0"),
    ],
)
def test_bad_scans_are_told(change, which, words, labels):
    volumes = brains(len(labels))
    change(volumes)
    with pytest.raises(ValueError, match=words):
        class_means(volumes, labels, np.array(which), CARD)
