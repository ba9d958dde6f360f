"""A training leaves the mean images of the scans it was trained on, and of no others."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference.class_means import class_mean

from pyadx import models
from pyadx.data.cohort import plan_splits
from pyadx.data.cohort.splits import Round
from pyadx.models import Preprocessing
from pyadx.training import run_round, run_rounds
from pyadx.training.crossval import round_folder

from .conftest import make_scans


@pytest.fixture
def scans():
    made = make_scans(24)
    bright = np.random.default_rng(7).uniform(0.3, 2, (24, 1, 1, 1)).astype(np.float32)
    return replace(made, volumes=made.volumes * bright)


@pytest.fixture
def quick(recipe):
    return replace(recipe, protocol=replace(recipe.protocol, epochs=1, batch_size=9))


def split(scans, count=18):
    names = [scan.subject for scan in scans.scans]
    return Round("own", tuple(names[:count]), tuple(names[count:]))


def references(folder):
    return models.load(folder / "model.safetensors").references


def twin(scans, which, number, matched=True):
    mean = class_mean(scans.volumes, scans.labels, which, number, matched)
    return torch.from_numpy(mean.astype(np.float16)).float()  # torch would round twice


@pytest.mark.parametrize("intensity", ["max", "zscore"])
def test_train_stores_the_twin_of_the_training_scans(intensity, scans, quick, hardware, tmp_path):
    card = replace(quick.card, preprocessing=Preprocessing(intensity))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run_round(tmp_path, split(scans), scans, replace(quick, card=card), hardware)
    model = models.load(tmp_path / "model.safetensors")
    assert list(model.references) == ["NC", "AD"]
    assert model.card.statistics["scans"] == sum(own["scans"] for own in model.card.references.values())
    assert "likeness" in model.card.statistics["figures"]
    for number, name in enumerate(model.references):
        expected = twin(scans, range(18), number, intensity == "max")
        assert torch.equal(model.references[name], expected)
        assert model.card.references[name]["scans"] == 9
        assert ("one factor" in model.card.references[name]["matching"]) == (intensity == "max")
    assert not models.load(tmp_path / "model.safetensors").training


def test_scans_that_were_held_out_do_not_enter(scans, quick, hardware, tmp_path):
    run_round(tmp_path / "one", split(scans), scans, quick, hardware)
    volumes = scans.volumes.copy()
    volumes[18:] = np.random.default_rng(3).random(volumes[18:].shape, np.float32)
    run_round(tmp_path / "other", split(scans), replace(scans, volumes=volumes), quick, hardware)
    one, other = references(tmp_path / "one"), references(tmp_path / "other")
    assert all(torch.equal(other[name], image) for name, image in one.items())


def test_each_round_of_a_cross_validation_has_its_own(scans, quick, hardware, tmp_path):
    labels = {scan.subject: scan.label for scan in scans.scans}
    plan = plan_splits(labels, 1, 3, seed=0)
    run_rounds(tmp_path, plan, scans, quick, hardware, keep_models=True)
    for one in plan.rounds:
        own = references(round_folder(tmp_path, one.name))
        which = scans.indices(one.train)
        assert all(torch.equal(own[name], twin(scans, which, i)) for i, name in enumerate(("NC", "AD")))


def test_shuffled_labels_do_not_make_ill_people_healthy(scans, quick, hardware, tmp_path):
    run_round(tmp_path, split(scans), scans, replace(quick, shuffle_labels=True), hardware)
    own = references(tmp_path)
    assert torch.equal(own["NC"], twin(scans, range(18), 0))
    assert torch.equal(own["AD"], twin(scans, range(18), 1))


def test_a_class_of_too_few_scans_has_none_and_that_is_told(scans, quick, hardware, tmp_path):
    with pytest.warns(UserWarning, match="no mean image of NC: 7 scans, at least 8 are needed") as told:
        run_round(tmp_path, split(scans, 13), scans, quick, hardware)
    assert len([one for one in told if "mean image" in str(one.message)]) == 2
    card = models.load(tmp_path / "model.safetensors").card
    assert references(tmp_path) == {}
    assert card.references["AD"] == {"scans": 6, "refused": "6 scans, at least 8 are needed"}


def test_resumed_leaves_the_same_bytes(scans, quick, hardware, tmp_path):
    recipe = replace(quick, protocol=replace(quick.protocol, epochs=2), keep_ids=True)
    run_round(tmp_path / "straight", split(scans), scans, recipe, hardware)

    def stop(epochs):
        if len(epochs) == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run_round(tmp_path / "run", split(scans), scans, recipe, hardware, on_epoch=stop)
    assert not (tmp_path / "run/model.safetensors").exists()
    run_round(tmp_path / "run", split(scans), scans, recipe, hardware)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "run"))
    assert b"reference.NC" in one
    assert one == other
