"""benchmarks/gpu.sh: what it would run, and what it says to wrong options."""

import subprocess
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not here")


def run(*arguments):
    return subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True)


def test_a_dry_run_prints_every_step_within_nine_minutes_and_runs_none():
    done = run("--dry-run")
    assert done.returncode == 0
    steps = [line for line in done.stdout.splitlines() if line.startswith("+")]
    assert [line[3:].split(",")[0] for line in steps] == [
        "build",
        "test",
        "sanitize",
        "sanitize",
        "bench",
        "bench",
    ]
    assert sum(int(line.split(" at most ")[1].split(" s]")[0]) for line in steps) <= 9 * 60
    only = run("--dry-run", "--only", "build,bench")
    assert only.stdout.splitlines() == [steps[0], *steps[-2:]]


def test_every_benchmark_that_it_names_is_there():
    named = [word for word in run("--dry-run").stdout.split() if word.startswith("bench_")]
    assert len(named) >= 5
    assert all((SCRIPT.parent / name).is_file() for name in named)


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--fast"], "unknown option --fast"), (["--only", "x"], "unknown part x")]
)
def test_wrong_options_are_told(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    done = run("--only", "test")
    assert done.returncode == 2
    assert "no CUDA GPU" in done.stderr
