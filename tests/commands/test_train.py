"""``pyadx train``, ``crossval``, ``convert``: what they write, what they refuse, and that they resume."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cohort_trees import plain_cohort
from program import Program, run_program

from pyadx import models

nib = pytest.importorskip("nibabel")
pytest.importorskip("lightning_fabric")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

SMALL = ["--model", "resnet-shallow-gap", "--shape", "16", "--spacing", "2.4", "--set-aside", "AD=1,NC=1"]


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain_cohort(tmp_path, 5)
    return "cohort.csv"


def test_train_writes_a_checkpoint_and_explain_says_what_it_has_seen(cohort, run):
    code, out, err = run(
        "train", cohort, "-o", "run", *SMALL, "--folds", "2", "--epochs", "2", "--tensorboard"
    )
    assert code == 0, err
    assert "of 4 subjects left out" in out
    assert "no mean image of NC: 2 scans, at least 8 are needed" in err
    assert "references" not in json.loads(Path("run/run.json").read_text())["model"]  # what it gave
    folder = Path("run")
    card = models.load(folder / "model.safetensors").card
    assert card.trained
    assert card.in_shape == (16, 16, 16)
    assert card.preprocessing.spacing == 2.4
    plan = json.loads((folder / "splits.json").read_text())
    trained = set(plan["rounds"][0]["train"])
    assert len(card.provenance["training_scans"]) == len(trained)
    whole = (folder / "model.safetensors").read_bytes()
    assert not [name for name in (*trained, *plan["set_aside"]) if f'"{name}'.encode() in whole]
    assert len(plan["set_aside"]) == 2
    assert not trained & set(plan["set_aside"])
    assert list((folder / "tensorboard").glob("events*"))
    for subject, seen in ((sorted(trained)[0], True), (plan["set_aside"][0], False)):
        Path("copy.nii.gz").write_bytes(Path(f"scans/{subject}.nii.gz").read_bytes())
        code, _, err = run(
            "explain", "copy.nii.gz", "--model", "run/model.safetensors", "-o", "heat.nii.gz", "--method",
            "cam", "--overwrite",
        )  # fmt: skip
        assert code == 0, err
        assert ("was among the scans that the network was trained on" in err) == seen
        assert json.loads(Path("heat.json").read_text())["scan"]["seen_in_training"] == seen


def test_whole_trains_on_everybody_but_those_set_aside(cohort, run):
    assert (
        run(
            "train",
            cohort,
            "-o",
            "run",
            *SMALL,
            "--folds",
            "2",
            "--epochs",
            "1",
            "--whole",
            "--keep-ids",
            "-q",
        )[0]
        == 0
    )
    result = json.loads(Path("run/result.json").read_text())
    assert result["test"] == []
    card = models.load("run/model.safetensors").card
    assert len(card.provenance["training_scans"]) == 8
    aside = json.loads(Path("run/splits.json").read_text())["set_aside"]
    trained = {entry["subject"] for entry in card.provenance["training_scans"]}
    assert trained == {f"s{number:02}" for number in range(10)} - set(aside)


def test_crossval_writes_tables_and_a_roc_plot(cohort, run):
    command = ["crossval", cohort, "-o", "cv", *SMALL, "--splits", "2", "--folds", "2", "--epochs", "1"]
    code, out, err = run(*command)
    assert code == 0, err
    assert "over 4 rounds" in out
    rows = list(csv.DictReader(Path("cv/rounds.csv").read_text().splitlines()))
    assert [row["round"] for row in rows] == [f"split{s}-fold{f}" for s in (1, 2) for f in (1, 2)]
    predictions = list(csv.DictReader(Path("cv/predictions.csv").read_text().splitlines()))
    aside = json.loads(Path("cv/splits.json").read_text())["set_aside"]
    assert len(predictions) == 2 * 8
    assert not {p["subject"] for p in predictions} & set(aside)
    assert Path("cv/roc.png").read_bytes()[:4] == b"\x89PNG"
    assert "standard deviation with ddof 0" in Path("cv/rounds.md").read_text()
    before = Path("cv/rounds.csv").read_bytes()
    code, _, err = run(*command)
    assert code == 2
    assert "use --resume to continue it, or --overwrite" in err
    assert run(*command, "--resume", "-q")[0] == 0
    assert Path("cv/rounds.csv").read_bytes() == before
    code, _, err = run(*command[:-1], "2", "--resume")
    assert code == 2
    assert "the run there has another protocol" in err


def rounds_command(folder):
    return [
        "crossval", "cohort.csv", "-o", folder, *SMALL, "--splits", "1", "--folds", "2", "--epochs", "6",
        "-q",
    ]  # fmt: skip


def run_to_its_end(*command):
    done = run_program(command)
    assert done.returncode == 0, done.stderr


def test_killed_during_crossval_loses_one_epoch_at_most(cohort, tmp_path):
    run_to_its_end(*rounds_command("undisturbed"))
    program = Program(rounds_command("cv"))
    state = tmp_path / "cv/rounds/split1-fold1/last.pt"
    log = tmp_path / "cv/rounds/split1-fold1/log.csv"
    program.wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 2)
    assert not program.ended, "the run was over before it could be killed"
    os.kill(program.pid, signal.SIGKILL)
    program.finish()
    kept = len(log.read_text().splitlines()) - 1
    assert state.exists() or (log.parent / "result.json").exists()
    assert kept >= 2
    run_to_its_end(*rounds_command("cv"), "--resume")
    one, other = (Path(f"{name}/predictions.csv").read_bytes() for name in ("undisturbed", "cv"))
    assert one == other


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "add --resume"),
        (["--resume"], "run the same command again"),
        (["--overwrite"], "replace --overwrite by --resume"),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, list) else "",
)
def test_an_interruption_says_how_to_continue(cohort, more, words):
    program = Program(
        ["crossval", cohort, "-o", "cv", *SMALL, "--folds", "2", "--epochs", "500", "-q", *more]
    )
    program.wait_for(Path("cv/rounds/split1-fold1").exists)
    os.kill(program.pid, signal.SIGINT)
    done = program.finish()
    assert done.stderr == f"pyadx: error: interrupted; {words} to continue where it stopped\n"
    assert done.returncode == 130


def ray_workers():
    """Process ids of Ray's workers that are training."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::_work"):
            found.append(int(folder.name))
    return found


def test_rounds_on_ray_equal_those_in_sequence_also_when_a_worker_dies(cohort):
    pytest.importorskip("ray")
    run_to_its_end(*rounds_command("serial"))
    ray = ["--parallel", "ray", "--workers", "2"]
    parallel = [sys.executable, "-m", "pyadx", *rounds_command("parallel"), *ray]
    process = subprocess.Popen(parallel, stderr=subprocess.DEVNULL)
    until, lost = time.monotonic() + 240, None
    while lost is None and time.monotonic() < until:
        assert process.poll() is None, "the run was over before a worker could be lost"
        if list(Path("parallel").glob("rounds/*/last.pt")) and (workers := ray_workers()):
            lost = workers[0]
            os.kill(lost, signal.SIGKILL)
        time.sleep(0.01)
    assert process.wait(timeout=240) == 0
    one, other = (Path(f"{name}/predictions.csv").read_text() for name in ("serial", "parallel"))
    assert_same_predictions(one, other)


def assert_same_predictions(one, other):
    """Equal up to rounding: workers have fewer threads, and sums of another order."""
    for a, b in zip(one.splitlines()[1:], other.splitlines()[1:], strict=True):
        first, second = a.split(","), b.split(",")
        assert first[:3] == second[:3]
        assert np.allclose([float(v) for v in first[3:]], [float(v) for v in second[3:]], atol=1e-3)


def test_convert(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    model = models.build("resnet-shallow-gap", (20, 20, 20), seed=1).eval()
    arrays = []
    for module in model.modules():
        if hasattr(module, "running_var"):
            inverse = 1 / (module.running_var + module.eps).sqrt()
            arrays += [module.bias, module.weight, module.running_mean, inverse]
        elif hasattr(module, "weight"):
            arrays += [module.weight.T if module.weight.dim() == 2 else module.weight, module.bias]
    np.savez("published.npz", *(a.detach().numpy() for a in arrays))
    command = [
        "convert",
        "published.npz",
        "--arch",
        "resnet-shallow-gap",
        "--shape",
        "20",
        "-o",
        "x.safetensors",
    ]
    code, _, err = run(*command)
    assert code == 0, err
    card = models.load("x.safetensors").card
    assert card.trained
    assert card.provenance["converted_from"] == "published.npz"
    assert run(*command)[0] == 2
    code, _, err = run("convert", "published.npz", "--arch", "vggnet", "-o", "y.safetensors")
    assert code == 2
    assert "holds 44 arrays; vggnet has 30" in err
    assert not Path("y.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "-o", "run"], "no such cohort"),
        (["cohort.csv", "-o", "missing/run"], "no such folder"),
        (["cohort.csv", "-o", "run", "--model", "alexnet"], "unknown architecture"),
        (["cohort.csv", "-o", "run", "--model", "vggnet", "--shape", "50"], "needs at least"),
        (["cohort.csv", "-o", "run", "--shape", "big"], "--shape must be like"),
        (["cohort.csv", "-o", "run", "--classes", "NC"], "two or more different names"),
        (["cohort.csv", "-o", "run", "--classes", "NC,MCI"], "no usable scan of MCI"),
        (["cohort.csv", "-o", "run", "--set-aside", "AD"], "--set-aside must be like"),
        (["cohort.csv", "-o", "run"], "folds need"),
        (["cohort.csv", "-o", "run", "--epochs", "0"], "epochs must be between"),
        (["cohort.csv", "-o", "run", "--protocol", "p.toml"], "no such protocol file"),
        (["cohort.csv", "-o", "run", "--split", "s.json"], "no such split file"),
        (["cohort.csv", "-o", "run", "--precision", "8"], "--precision must be one of"),
        (["cohort.csv", "-o", "run", "--intensity", "log"], "intensity must be one of"),
        (["cohort.csv", "-o", "cohort.csv"], "is a file"),
        (["cohort.csv", "-o", "scans"], "is not empty and holds no run"),
    ],
)
@pytest.mark.parametrize("command", ["train", "crossval"])
def test_bad_arguments_are_told_before_anything_is_written(
    command, arguments, words, cohort, run, tmp_path
):
    before = sorted(p.name for p in tmp_path.rglob("*"))
    code, out, err = run(command, *arguments)
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
