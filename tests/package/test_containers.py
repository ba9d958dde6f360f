"""Recipes of containers and the descriptor of the BIDS-App say what the package says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = (ROOT / "Dockerfile").read_text()
APPTAINER = (ROOT / "apptainer.def").read_text()
DESCRIPTOR = ROOT / "docs" / "bids-app.json"


def program(name):
    """A program on the PATH or beside this Python."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def test_recipes_take_the_torch_that_is_developed_with_and_the_same_python():
    (torch,) = re.findall(r"^TORCH \?= torch==(\S+)$", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"ARG TORCH=(\S+)", DOCKER)) == {torch}
    assert set(re.findall(r"^ +torch=(\S+)$", APPTAINER, re.M)) == {torch}
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKER, re.M)
    assert re.findall(r"^From: python:(\S+)-slim", APPTAINER, re.M) == [python, python]
    assert re.findall(r"^FROM python:\$\{PYTHON\}-(\S+)", DOCKER, re.M) == ["slim-bookworm"] * 2


def test_recipes_build_from_all_that_the_wheel_needs():
    """What is copied is what MANIFEST.in and the build name, and nothing that is built."""
    needed = set(re.findall(r"[\w.]+", (ROOT / "MANIFEST.in").read_text().splitlines()[0])) - {"include"}
    needed |= {"MANIFEST.in", "csrc", "pyadx"}
    ignore = (ROOT / ".dockerignore").read_text()
    assert set(re.findall(r"^!(\S+)$", ignore, re.M)) == needed
    copied = re.findall(r"^ {4}(\S+) /src/(\S+)$", APPTAINER, re.M)
    assert {one for one, _ in copied} == needed
    assert all(one == other for one, other in copied)
    assert all((ROOT / name).exists() for name in needed)
    asked = re.search(r"^requires = \[(.+)\]$", (ROOT / "pyproject.toml").read_text(), re.M)[1]
    for name in re.findall(r'"([\w-]+)', asked):
        assert name in DOCKER, name
        assert name in APPTAINER, name


def test_containers_run_the_bids_app_and_not_as_root():
    assert DOCKER.rstrip().endswith('ENTRYPOINT ["pyadx", "bids"]')
    assert re.findall(r"^USER (\S+)$", DOCKER, re.M) == ["1000"]
    assert 'exec pyadx bids "$@"' in APPTAINER


def test_the_dockerfile_passes_its_linter():
    hadolint = program("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (make lint has it)")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_descriptor_knows_every_option():
    import typer

    from pyadx.cli import app

    facts = json.loads(DESCRIPTOR.read_text())
    parameters = typer.main.get_command(app).commands["bids"].params
    options = {one.opts[0] for one in parameters if one.opts[0].startswith("-")} - {"--help"}
    assert {one["command-line-flag"] for one in facts["inputs"] if "command-line-flag" in one} == options
    keys = re.findall(r"\[\w+\]", facts["command-line"].partition(";")[2])
    assert keys[:3] == ["[BIDS_DIR]", "[OUTPUT_DIR]", "[ANALYSIS_LEVEL]"]
    assert set(keys) == {one["value-key"] for one in facts["inputs"]}


def test_the_descriptor_is_one_of_boutiques():
    bosh = program("bosh")
    if bosh is None:
        pytest.skip("boutiques is not installed")
    done = subprocess.run(
        [bosh, "validate", "--bids", DESCRIPTOR], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
