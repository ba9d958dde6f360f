"""Scans that a network was not made for, by its card's statistics and by their own looks."""

import re

import numpy as np
import pytest
import torch

from pyadx import models
from pyadx.data.network_scans import check_scan, network_statistics
from pyadx.data.scan_statistics import label_words, outside, scan_figures, statistics_of
from pyadx.data.scans import Scan

SHAPE = (24, 26, 22)
rng = np.random.default_rng(5)
GRID = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
TEMPLATE = 1 + 0.4 * np.sin(9 * GRID[0]) * np.cos(7 * GRID[1] + 2 * GRID[2])


def person(number, scale=0.75):
    """A brain of its own size, brightness and noise, in a background of 0."""
    own = np.random.default_rng(number)
    radius = scale * own.normal(1, 0.02)
    inside = (GRID[0] ** 2 + 1.3 * GRID[1] ** 2 + 0.8 * GRID[2] ** 2) < radius**2
    tissue = TEMPLATE * own.normal(1, 0.02) + own.normal(0, 0.05, SHAPE)
    return np.where(inside, tissue, 0).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    model = models.build("resnet-shallow-gap", (16, 16, 16), seed=0)
    people = [person(number) for number in range(20)]
    mean = torch.from_numpy(np.mean(people, axis=0))
    model.card = models.ModelCard("own", SHAPE)
    models.with_references(model, {"NC": mean})
    statistics = network_statistics(people, model)
    model.card = models.ModelCard("own", SHAPE, references={"NC": {}}, statistics=statistics)
    return model


def checked(data, model):
    volume = torch.from_numpy(np.ascontiguousarray(data))[None, None]
    return check_scan(Scan("scan.nii", None, data), volume, model)


def test_figures_by_hand():
    volume = np.zeros((4, 4, 4), np.float32)
    volume[1:3, 1:3, 1:3] = np.arange(1, 9).reshape(2, 2, 2)
    volume[0, 1, 1] = 12  # on one face of 4 x 4 voxels; the two faces of an axis are one mean
    found = scan_figures(volume, volume * 2 + (volume != 0))
    assert found["brain_share"] == 9 / 64
    assert found["background"] == pytest.approx(12 / 32 / 3)
    assert found["intensity_50"] == 5
    assert found["contrast"] == pytest.approx(1)
    assert 0.99 < found["likeness"] < 1
    assert "likeness" not in scan_figures(volume, None)


def test_statistics_are_mean_and_deviation_and_of_a_few_people_there_are_none():
    figures = [{"likeness": value} for value in (0.9, 0.8, 0.7) * 3]
    found = statistics_of(figures)
    assert found["scans"] == 9
    mean, deviation = found["figures"]["likeness"]
    assert mean == pytest.approx(0.8)
    assert deviation == pytest.approx(np.std([0.9, 0.8, 0.7] * 3, ddof=1), rel=1e-5)
    assert statistics_of(figures[:7]) == {}
    assert outside({"likeness": 1.0}, found) == []  # nobody is too much alike
    (one,) = outside({"likeness": 0.1}, found)
    assert (one.name, one.value) == ("likeness", 0.1)
    assert outside({"unheard_of": 9.0}, {"figures": {"unheard_of": [0, 1]}}) == []


def test_other_people_are_inside(network):
    assert not any(checked(person(number), network).words for number in range(100, 140))


ODD = {
    "whole head": (lambda data: np.where(data == 0, 0.2 + 0.3 * rng.random(SHAPE), data), "whole head"),
    "inverted contrast": (lambda data: np.where(data != 0, 2.4 - data, 0), "have another contrast"),
    "half the size": (lambda data: person(1, 0.4), "is the brain smaller, or cut off"),
    "background": (lambda data: data + 0.4, "is the background not 0"),
    "noise outside": (lambda data: np.where(data == 0, 0.1 * rng.random(SHAPE), data), "background not 0"),
    "axes": (lambda data: np.transpose(data, (2, 0, 1))[:, :, :22][:24, :24], "shifted, rotated"),
    "misplaced": (lambda data: np.roll(data, 7, axis=1), "out of place"),
    "mirrored": (lambda data: data[::-1], "have another contrast|shifted"),
    "brighter": (lambda data: data * 2, "bright tissue is brighter"),
}


@pytest.mark.parametrize("kind", ODD)
def test_scans_that_the_network_was_not_made_for_are_told_with_the_figure(network, kind):
    change, words = ODD[kind]
    data = np.zeros(SHAPE, np.float32)
    changed = change(person(150)).astype(np.float32)
    data[tuple(slice(n) for n in changed.shape)] = changed
    told = checked(data, network).words
    assert any(re.search(words, one) for one in told), told
    assert all("expected" in one or "neighbours" in one for one in told)
    assert all("nan" not in one for one in told)


def test_labels_and_masks_are_no_scans():
    labels = np.zeros(SHAPE, np.float32)
    labels[4:20, 4:20, 4:20] = 3
    labels[6:12, 6:12, 6:12] = 17
    assert "is it a label volume, or a mask?" in label_words(labels)
    assert "neighbours" in label_words((labels != 0).astype(np.float32))
    for number in range(5):
        assert label_words(person(number)) is None
        assert label_words(person(number) + 1) is None  # the background is no label
        assert label_words(np.round(person(number) * 60)) is None  # eight bits have ties


def test_a_network_without_statistics_says_so():
    model = models.build("resnet-shallow-gap", (16, 16, 16), seed=0)
    found = checked(person(3), model)
    assert found.words == []
    assert found.facts()["compared_with"] == "nothing: the network's card keeps no statistics of its scans"


def test_other_reference_images_are_not_compared_with(network):
    import copy

    other = copy.copy(network)
    other.references = {"NC": network.references["NC"] * 0.5 + 0.1}
    figures = checked(person(3), other).figures
    assert "likeness" not in figures
    assert "brain_share" in figures
    assert "likeness" in checked(person(3), network).figures


@pytest.mark.parametrize(
    "figures", [3, {"a": 3}, {"a": [1, "b"]}, {"a": [1, -1]}, {"a": [float("nan"), 1]}]
)
def test_damaged_statistics_are_refused(figures):
    with pytest.raises(ValueError, match="statistics must map figures to a mean and a standard deviation"):
        models.ModelCard("own", statistics={"scans": 9, "figures": figures})
    with pytest.raises(ValueError, match="statistics"):
        models.ModelCard.from_dict(models.ModelCard("own").to_dict() | {"statistics": {"figures": figures}})
