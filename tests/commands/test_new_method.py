"""A method is one file: every command knows it, its options and its spelling at once."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cohort_trees import labelled_cohort

import pyadx
from pyadx import explainers, models
from pyadx.explainers import registry
from pyadx.models import Preprocessing

nib = pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

# The scan itself, scaled: fast, and easy to check.
TOY = '''
"""The scan, scaled."""

from typing import Annotated

import torch

from pyadx.explainers.base import Explainer, SinglePass
from pyadx.explainers.option_kinds import number
from pyadx.explainers.registry import Option, method
from pyadx.explainers.volumes import check_volume
from pyadx.inference.score import resolve_target


@method("echo", title="Echo", answers="What was the scan?", cost="nothing at all")
class Echo(Explainer):
    def __init__(self, model, gain: Annotated[float, Option("Factor.", number(above=0))] = 1.0):
        if gain > 1000:
            raise ValueError(f"gain {gain} is too much")
        self.model, self.gain = model, gain

    def run(self, volume, target=None):
        volume = check_volume(volume, self.model)
        with torch.no_grad():
            outputs = self.model.eval()(volume)
        targets = resolve_target(target, outputs, self.model)
        return self._explanation(self.gain * volume[:, 0], outputs, targets, (SinglePass(),) * len(volume))
'''


@pytest.fixture
def echo(tmp_path, monkeypatch):
    """One new file in the folder of methods, gone afterwards."""
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "echo_of_the_scan.py").write_text(TOY)
    monkeypatch.setattr(explainers, "__path__", [*explainers.__path__, str(folder)])
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    yield
    sys.modules.pop("pyadx.explainers.echo_of_the_scan", None)


@pytest.fixture
def here(tmp_path, monkeypatch, echo):
    monkeypatch.chdir(tmp_path)
    labelled_cohort(tmp_path / "blobs")
    model = models.build("resnet-shallow-gap", (22, 24, 20), preprocessing=Preprocessing("none", None))
    models.save(model, "net.safetensors")
    return tmp_path


def test_it_is_listed_with_its_options(echo, run):
    code, out, _ = run("methods")
    assert code == 0
    assert re.search("^echo +What was the scan[?]$", out, re.M)
    code, out, _ = run("methods", "echo")
    assert code == 0
    assert "gain=1" in out
    assert "a number above 0" in out
    assert "methods: cam, deeplift, echo, flip, gradcam" in run("methods", "eco")[2]


def test_python_knows_it(echo):
    model = models.build("resnet-shallow-gap", (16, 16, 16))
    found = pyadx.explainer("echo:gain=2.0", model).run(torch.ones(1, 16, 16, 16))
    assert found.method == "echo:gain=2"
    assert found.options == {"gain": 2.0}
    assert (found.heatmap == 2).all()


def test_every_command_knows_it_and_finds_what_another_one_made(here, run):
    heat = Path("maps/sub-01/anat/sub-01_desc-echoGain3_heatmap.nii.gz")
    command = ["--model", "net.safetensors", "-o", "maps", "-q"]
    code, _, err = run("explain-cohort", "blobs", "--method", "cam", *command)
    assert code == 0, err
    scan = next(Path("blobs/sub-01").rglob("*_T1w.nii.gz"))
    code, out, err = run(
        "explain", scan, "--model", "net.safetensors", "--method", "echo:gain=3.0", "--target", "AD", "-o",
        heat, "--figure", "echo.png",
    )  # fmt: skip
    assert code == 0, err
    assert "echo:gain=3 of AD" in out
    assert Path("echo.png").stat().st_size > 0
    facts = json.loads(heat.with_name("sub-01_desc-echoGain3_heatmap.json").read_text())
    assert (facts["method"], facts["spelling"], facts["parameters"]) == (
        "echo",
        "echo:gain=3",
        {"gain": 3.0},
    )
    assert np.allclose(nib.load(heat).get_fdata(), 3 * nib.load(scan).get_fdata(), rtol=1e-5)
    made = heat.stat().st_mtime_ns

    code, _, err = run("explain-cohort", "blobs", "--method", "echo:gain=3", *command)
    assert code == 0, err
    everything = {path: path.stat().st_mtime_ns for path in Path("maps").rglob("*echo*.nii.gz")}
    assert len(everything) > 1
    assert everything[heat] == made

    code, out, err = run(
        "evaluate", "net.safetensors", "--cohort", "blobs", "-o", "out", "--heatmaps", "maps", "--methods",
        "echo:gain=3", "--methods", "cam echo", "--subjects", "sub-01,sub-02",
    )  # fmt: skip
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in everything} == everything
    rows = list(csv.DictReader(Path("out/localization.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == {"echo:gain=3", "cam", "echo"}
    assert Path("out/comparison.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("echo:gain=0", "gain must be a number above 0"),
        ("echo:gian=2", "did you mean gain"),
        ("echo:gain=2000", "too much"),
    ],
)
def test_its_options_are_validated_everywhere(spelling, words, here, run):
    scan = next(Path("blobs/sub-01").rglob("*_T1w.nii.gz"))
    for command in (
        ["explain", scan, "--model", "net.safetensors", "--method", spelling, "-o", "heat.nii.gz"],
        ["explain-cohort", "blobs", "--model", "net.safetensors", "--method", spelling, "-o", "maps"],
        ["evaluate", "net.safetensors", "--cohort", "blobs", "--methods", spelling, "-o", "out",
         "--subjects", "sub-01"],
    ):  # fmt: skip
        code, out, err = run(*command)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1
    assert not list(Path().rglob("*heat*"))
