"""A long occlusion run that is killed goes on where it was, and ends with the same bytes."""

import json
import signal
import subprocess
import sys
import time

import pytest

from pyadx import models
from pyadx.models import Preprocessing

nib = pytest.importorskip("nibabel")

SCORES = "heat.nii.gz.scores"


def command(out, *options, more=()):
    return [
        sys.executable, "-m", "pyadx", "explain", "scan.nii.gz", "--model", "small.safetensors", "-o", out,
        "--method", ",".join(["occlusion:window=3", *more]), "--target", "AD", "-q", *options,
    ]  # fmt: skip


@pytest.fixture
def small(here):
    """A network on a grid small enough for stride 1 within seconds, yet of many chunks."""
    model = models.build(
        "resnet-shallow-gap", (20, 20, 20), preprocessing=Preprocessing("max", 4.0), seed=0
    )
    models.save(model, here / "small.safetensors")
    return here


def chunks_in(path):
    return (path.stat().st_size - 1024) // (1024 * 8) if path.exists() else 0


def start_and_kill(folder, how):
    """Start a run and end it in the middle, when a chunk or two are on the disk."""
    process = subprocess.Popen(command("heat.nii.gz"), cwd=folder, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while chunks_in(folder / SCORES) < 1 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(how)
    err = process.communicate(timeout=60)[1]
    assert process.returncode != 0, "the run was over before it could be killed"
    return err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=str)
def test_killed_and_resumed_equals_undisturbed(how, small):
    subprocess.run(command("undisturbed.nii.gz"), cwd=small, check=True)
    err = start_and_kill(small, how)
    assert "Traceback" not in err
    if how != signal.SIGKILL:
        assert err.count("\n") == 1
        assert not list(small.glob(".partial*"))
    assert not (small / "heat.nii.gz").exists()
    kept = (small / SCORES).read_bytes()
    refused = subprocess.run(command("heat.nii.gz"), cwd=small, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    assert (small / SCORES).read_bytes() == kept
    subprocess.run(command("heat.nii.gz", "--resume"), cwd=small, check=True)
    assert (small / "heat.nii.gz").read_bytes() == (small / "undisturbed.nii.gz").read_bytes()
    assert not (small / SCORES).exists()


def test_resuming_with_other_options_is_refused_and_overwrite_starts_again(small):
    start_and_kill(small, signal.SIGKILL)
    again = command("heat.nii.gz", "--resume", more=["score=logit"])
    refused = subprocess.run(again, cwd=small, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "score: probability there, logit here" in refused.stderr
    fresh = command("heat.nii.gz", "--overwrite", more=["score=logit"])
    subprocess.run(fresh, cwd=small, check=True)
    assert not (small / SCORES).exists()


def test_resume_without_anything_to_resume_starts_from_the_beginning(small, run):
    arguments = [*command("heat.nii.gz", "--resume", more=["stride=9"])[3:]]
    assert run(*arguments)[0] == 0
    assert (small / "heat.nii.gz").exists()


def test_an_approximate_map_is_labelled(small, run):
    arguments = [a for a in command("heat.nii.gz", more=["budget_s=0.001"])[3:] if a != "-q"]
    code, out, _ = run(*arguments)
    assert code == 0
    assert "APPROXIMATE" in out
    facts = json.loads((small / "heat.json").read_text())
    assert facts["report"]["approximate"] is True
    assert facts["report"]["scored"] < facts["report"]["regions"]
    assert "interpolated" in facts["report"]["summary"]
    assert facts["parameters"]["budget_s"] == 0.001


def test_the_sidecar_of_an_exact_map_says_how_it_was_made(small, run):
    more = ["stride=5", "engine=incremental", "max_memory=1G"]
    assert run(*command("heat.nii.gz", more=more)[3:])[0] == 0
    facts = json.loads((small / "heat.json").read_text())
    assert facts["report"]["engine"] == "incremental"
    assert facts["report"]["approximate"] is False
    assert facts["report"]["windows"] == 4**3
    assert facts["parameters"]["max_memory"] == 1 << 30
