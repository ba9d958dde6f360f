"""A long occlusion run that is killed goes on where it was, and ends with the same bytes."""

import json
import os
import signal

import pytest
from program import Program, run_program

from pyadx import models
from pyadx.models import Preprocessing

nib = pytest.importorskip("nibabel")

SCORES = "heat.nii.gz.scores"
CHUNK = 32  # so small that a run of seconds has many


def arguments(out, *options, more=("stride=2",)):
    return [
        "explain", "scan.nii.gz", "--model", "small.safetensors", "-o", out,
        "--method", ",".join(["occlusion:window=3", *more]), "--target", "AD", "-q", *options,
    ]  # fmt: skip


def run_to_its_end(folder, *asked):
    done = run_program(arguments(*asked), folder, CHUNK)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def small(here):
    """A network on a grid small enough for hundreds of windows within seconds."""
    model = models.build(
        "resnet-shallow-gap", (16, 16, 16), preprocessing=Preprocessing("max", 5.0), seed=0
    )
    models.save(model, here / "small.safetensors")
    return here


def chunks_in(path):
    return (path.stat().st_size - 1024) // (CHUNK * 8) if path.exists() else 0


def start_and_kill(folder, how):
    """Start a run and end it in the middle, when a chunk or two are on the disk."""
    program = Program(arguments("heat.nii.gz"), folder, CHUNK, hold=8)
    program.wait_for(lambda: chunks_in(folder / SCORES) >= 1, 300)
    os.kill(program.pid, how)
    done = program.finish()
    assert done.returncode != 0, "the run was over before it could be killed"
    return done.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=str)
def test_killed_and_resumed_equals_undisturbed(how, small, run):
    run_to_its_end(small, "undisturbed.nii.gz")
    err = start_and_kill(small, how)
    assert "Traceback" not in err
    if how != signal.SIGKILL:
        word = "interrupted" if how == signal.SIGINT else "terminated"
        assert err == f"pyadx: error: {word}; add --resume to continue where it stopped\n"
        assert not list(small.glob(".partial*"))
    assert not (small / "heat.nii.gz").exists()
    kept = (small / SCORES).read_bytes()
    code, _, err = run(*arguments("heat.nii.gz"))
    assert code == 2
    assert "--resume" in err
    assert (small / SCORES).read_bytes() == kept
    run_to_its_end(small, "heat.nii.gz", "--resume")
    assert (small / "heat.nii.gz").read_bytes() == (small / "undisturbed.nii.gz").read_bytes()
    assert not (small / SCORES).exists()


def test_resuming_with_other_options_is_refused_and_overwrite_starts_again(small, run):
    start_and_kill(small, signal.SIGKILL)
    code, _, err = run(*arguments("heat.nii.gz", "--resume", more=["stride=2", "score=logit"]))
    assert code == 2
    assert "score: log_odds in the file, logit in this run" in err
    assert run(*arguments("heat.nii.gz", "--overwrite", more=["stride=9", "score=logit"]))[0] == 0
    assert not (small / SCORES).exists()


def test_resume_without_anything_to_resume_starts_from_the_beginning(small, run):
    assert run(*arguments("heat.nii.gz", "--resume", more=["stride=9"]))[0] == 0
    assert (small / "heat.nii.gz").exists()


def test_an_approximate_map_is_labelled(small, run):
    asked = [a for a in arguments("heat.nii.gz", more=["budget_s=0.001"]) if a != "-q"]
    code, out, _ = run(*asked)
    assert code == 0
    assert "APPROXIMATE" in out
    facts = json.loads((small / "heat.json").read_text())
    assert facts["report"]["approximate"] is True
    assert facts["report"]["scored"] < facts["report"]["regions"]
    assert "interpolated" in facts["report"]["summary"]
    assert facts["parameters"]["budget_s"] == 0.001


def test_the_sidecar_of_an_exact_map_says_how_it_was_made(small, run):
    more = ["stride=5", "engine=incremental", "max_memory=1G"]
    assert run(*arguments("heat.nii.gz", more=more))[0] == 0
    facts = json.loads((small / "heat.json").read_text())
    assert facts["report"]["engine"] == "incremental"
    assert facts["report"]["approximate"] is False
    assert facts["report"]["windows"] == 4**3
    assert facts["parameters"]["max_memory"] == 1 << 30
