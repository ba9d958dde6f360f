"""The option ``outputs``: what a network returns, on the command line."""

import json
import warnings

import pytest
import torch
from commands_support import AFFINE, brain, save_small_network

import pyadx
from pyadx import models
from pyadx.explainers import parse_method

nib = pytest.importorskip("nibabel")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(brain(), AFFINE), "scan.nii.gz")
    save_small_network(tmp_path / "net.safetensors")
    return tmp_path


def explain(method, *options):
    files = ["scan.nii.gz", "--model", "net.safetensors", "-o", "heat.nii.gz"]
    return ["explain", *files, "--method", method, *options]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("percent", "outputs must be logits, probabilities, log_probabilities"),
        ("probabilities", "does not fit this model"),
    ],
)
def test_outputs_that_the_network_does_not_give_are_refused_in_a_line(folder, run, kind, words):
    code, out, err = run(*explain(f"cam:outputs={kind}"))
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (folder / "heat.nii.gz").exists()


@pytest.mark.parametrize(
    "method", ["cam", "gradcam", "occlusion:window=9,stride=9", "sa3ducm:max_regions=5"]
)
def test_every_method_takes_the_option_and_its_sidecar_says_so(folder, run, method):
    spelled = f"{method}{',' if ':' in method else ':'}outputs=logits"
    assert run(*explain(spelled, "--target", "0"))[0] == 0
    facts = json.loads((folder / "heat.json").read_text())
    assert facts["parameters"]["outputs"] == "logits"
    # The rule is not spelled, so that heatmaps of earlier versions answer the same request.
    assert "outputs" not in facts["spelling"]
    assert "outputs=probabilities" in parse_method(spelled.replace("logits", "probabilities")).canonical


def test_python_reads_the_same_spelling(folder):
    model = models.load("net.safetensors")
    assert pyadx.explainer("cam:outputs=log_probabilities", model).outputs == "log_probabilities"


def test_a_network_that_cannot_move_is_told_in_words(folder, run):
    model = models.load("net.safetensors")
    with torch.no_grad():
        [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)][-1].bias[0] += 1e3
    models.save(model, folder / "net.safetensors")
    with warnings.catch_warnings(record=True) as caught:
        code, _, err = run(*explain("occlusion:paper,window=9,stride=9"))
    assert code == 0
    told = err + " ".join(str(warning.message) for warning in caught)
    assert "the map is empty or flat" in told
    assert "score='logit'" in told
