"""The loop learns, resumes to the bit, refuses leaks, and finds nothing in shuffled labels."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyadx import models
from pyadx.data.cohort import plan_splits
from pyadx.data.cohort.splits import Round
from pyadx.models.training_scans import Seen, seen_in_training
from pyadx.training import Hardware, run_round, run_rounds, summarise, train
from pyadx.training.crossval import round_folder

from .conftest import GRID, make_scans


def halves(scans):
    names = [scan.subject for scan in scans.scans]
    return Round("half", tuple(names[:8]), tuple(names[8:]))


def test_a_round_leaves_a_checkpoint_that_knows_its_scans(scans, recipe, hardware, tmp_path):
    one = halves(scans)
    result = run_round(tmp_path, one, scans, replace(recipe, keep_ids=True), hardware)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    model = models.load(tmp_path / "model.safetensors")
    card = model.card
    assert card.trained
    seen = card.provenance["training_scans"]
    assert [entry["subject"] for entry in seen] == list(one.train)
    assert [entry["voxels_sha256"] for entry in seen] == list(scans.hashes[:8])
    assert not (tmp_path / "last.pt").exists()
    with torch.no_grad():
        outputs = model(torch.from_numpy(scans.volumes[8:])[:, None]).double().softmax(1).numpy()
    assert np.allclose(outputs, [test["probabilities"] for test in result["test"]], atol=1e-5)


def test_a_checkpoint_carries_no_id_and_no_plain_hash_unless_asked_for(scans, recipe, hardware, tmp_path):
    one = halves(scans)
    run_round(tmp_path, one, scans, recipe, hardware)
    data = (tmp_path / "model.safetensors").read_bytes()
    for scan, own in zip(scans.scans, scans.hashes, strict=True):
        assert f'"{scan.subject}' not in data.decode("latin-1")
        assert own.encode() not in data
    card = models.load(tmp_path / "model.safetensors").card
    for scan, own in zip(scans.scans, scans.hashes, strict=True):
        trained_on = scan.subject in one.train
        assert seen_in_training(card, own, scan.subject) == Seen(trained_on, trained_on)


def test_the_first_step_equals_a_slow_one(scans, recipe, hardware):
    """One epoch of one batch against plain PyTorch on the whole training set."""
    protocol = replace(recipe.protocol, batch_size=8, epochs=1)
    ours, plain = (models.build("resnet-shallow-gap", GRID, seed=1) for _ in range(2))
    train(ours, scans, np.arange(8), np.arange(0), protocol, fabric=hardware.fabric())
    before = [p.detach().clone() for p in plain.parameters()]
    loss = torch.nn.functional.cross_entropy(
        plain.train()(torch.from_numpy(scans.volumes[:8])[:, None]), torch.from_numpy(scans.labels[:8])
    )
    gradients = torch.autograd.grad(loss, list(plain.parameters()))
    for own, start, gradient in zip(ours.parameters(), before, gradients, strict=True):
        # Nesterov's first step: x - rate (1 + m) g.
        expected = start - protocol.learning_rate * 1.9 * gradient
        assert torch.allclose(own, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("architecture", ["resnet-shallow-gap", "with dropout"])
def test_resumed_equals_undisturbed_to_the_bit(architecture, scans, recipe, hardware, tmp_path):
    def build():
        model = models.build("resnet-shallow-gap", GRID, seed=1)
        if architecture == "with dropout":
            model.fc = torch.nn.Sequential(torch.nn.Dropout(0.5), model.fc)
        return model

    def stop_after(count):
        def check(epochs):
            if len(epochs) == count:
                raise InterruptedError

        return check

    protocol = replace(recipe.protocol, flip=True, shift=1)
    options = {"fabric": hardware.fabric(), "seed": 4, "facts": {"what": "test"}}
    parts = (scans, np.arange(8), np.arange(8, 12), protocol)
    straight = build()
    expected = train(straight, *parts, **options)
    folder = tmp_path / "run"
    folder.mkdir()
    for count in (1, 2):
        with pytest.raises(InterruptedError):
            train(build(), *parts, **options, folder=folder, on_epoch=stop_after(count))
        torch.rand(7)  # whatever else used random numbers in between
    resumed = build()
    trained = train(resumed, *parts, **options, folder=folder)
    assert [e.loss for e in trained.epochs] == [e.loss for e in expected.epochs]
    assert np.array_equal(trained.probabilities, expected.probabilities)
    for a, b in zip(straight.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="belongs to a training with another what"):
        train(build(), *parts, **{**options, "facts": {"what": "else"}}, folder=folder)
    (folder / "last.pt").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"last\.pt: is damaged"):
        train(build(), *parts, **options, folder=folder)


def test_it_learns_what_is_there_and_nothing_from_shuffled_labels(recipe, hardware, tmp_path):
    """The control against leakage: with shuffled training labels the area is 0.5 within its error."""
    scans = make_scans(40, signal=0.15)
    labels = {scan.subject: scan.label for scan in scans.scans}
    plan = plan_splits(labels, 1, 4, seed=0)
    recipe = replace(recipe, protocol=replace(recipe.protocol, epochs=2, batch_size=8, learning_rate=0.02))
    found = summarise(run_rounds(tmp_path / "real", plan, scans, recipe, hardware))
    control = replace(recipe, shuffle_labels=True)
    areas = []
    for seed in range(2):
        own = plan_splits(labels, 1, 4, seed=seed)
        rounds = run_rounds(tmp_path / f"c{seed}", own, scans, replace(control, seed=seed), hardware)
        areas.append(summarise(rounds).auc[0])
    assert found.auc[0] > 0.9
    # 40 subjects, half of them ill: the standard error of one area is about 0.09, and there are two.
    assert abs(np.mean(areas) - 0.5) < 4 * 0.09 / 2**0.5


def test_a_cross_validation_does_every_round_once(scans, recipe, hardware, tmp_path):
    labels = {scan.subject: scan.label for scan in scans.scans}
    plan = plan_splits(labels, 1, 3, seed=0, set_aside={"AD": 1, "NC": 1})
    recipe = replace(recipe, protocol=replace(recipe.protocol, epochs=1))
    first = run_rounds(tmp_path, plan, scans, recipe, hardware)
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")}
    (round_folder(tmp_path, plan.rounds[1].name) / "result.json").unlink()
    again = run_rounds(tmp_path, plan, scans, recipe, hardware)
    assert [r["round"] for r in again] == [one.name for one in plan.rounds]
    for a, b in zip(first, again, strict=True):
        assert a["test"] == b["test"]
    changed = [p for p, when in kept.items() if p.stat().st_mtime_ns != when]
    assert [p.parent.name for p in changed] == [plan.rounds[1].name]
    summary = summarise(again)
    assert summary.auc == (np.mean([r["auc"] for r in again]), np.std([r["auc"] for r in again]))


@pytest.mark.parametrize(
    ("train_on", "test_on", "words"),
    [
        ([0, 1, 2, 3], [3, 4], "s03 is in the training and in the test set"),
        ([0, 2, 4], [1], "two classes"),
    ],
)
def test_leaks_and_single_classes_are_refused(train_on, test_on, words, scans, recipe, hardware):
    with pytest.raises(ValueError, match=words):
        train(
            models.build("resnet-shallow-gap", GRID),
            scans,
            np.array(train_on),
            np.array(test_on),
            recipe.protocol,
            fabric=hardware.fabric(),
        )


def test_a_loss_that_is_no_number_is_told(scans, recipe, hardware):
    extreme = replace(scans, volumes=scans.volumes * np.float32(3e38))
    with pytest.raises(ValueError, match="the loss is no longer finite"):
        train(
            models.build("resnet-shallow-gap", GRID, seed=0),
            extreme,
            np.arange(8),
            np.arange(8, 12),
            recipe.protocol,
            fabric=hardware.fabric(),
        )


def test_two_processes_average_to_the_same_training(tmp_path):
    """Of a network without batch norm: every process holds half of each batch, the sum is the same."""
    import subprocess
    import sys

    pytest.importorskip("lightning_fabric")
    code = """
import sys
import numpy as np, torch
sys.path.insert(0, {tests!r})
from training.conftest import make_scans, GRID
from pyadx.training import Hardware, Protocol, train

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv3d(1, 3, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool3d(2), torch.nn.Flatten(),
    torch.nn.Linear(24, 2),
)
scans, protocol = make_scans(), Protocol("sgd", 0.05, 4, 3)
fabric = Hardware("cpu", int(sys.argv[1])).fabric()
done = train(model, scans, np.arange(8), np.arange(8, 12), protocol, fabric=fabric, seed=1)
if fabric.is_global_zero:
    np.save(sys.argv[2], done.probabilities)
"""
    from pathlib import Path

    script = tmp_path / "script.py"
    script.write_text(code.format(tests=str(Path(__file__).resolve().parents[1])))
    for devices in (1, 2):
        out = tmp_path / f"{devices}.npy"
        command = [sys.executable, script, str(devices), out]
        command = [sys.executable, script, str(devices), out]
        subprocess.run(command, check=True, capture_output=True, timeout=240)
    one, two = (np.load(tmp_path / f"{n}.npy") for n in (1, 2))
    assert np.allclose(one, two, atol=1e-6)


def test_hardware_that_is_not_there_is_told():
    pytest.importorskip("lightning_fabric")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="cannot train on 1 x cuda"):
        Hardware("cuda").fabric()
