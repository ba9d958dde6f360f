"""``pyadx convert --reference``: a scan file becomes what a network remembers of a class."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from commands_support import AFFINE, brain, save_small_network

from pyadx import models
from pyadx.data import fit_to_grid, read_reference, read_scan, scale_intensity
from pyadx.data.inputs import voxel_hash
from pyadx.models import Preprocessing
from pyadx.models.training_scans import training_record

nib = pytest.importorskip("nibabel")

SHAPE = (18, 20, 17)


def save(data, path, affine=AFFINE):
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_small_network("net.safetensors")
    save(brain(SHAPE), "mean.nii.gz")


def expected(path="mean.nii.gz", intensity="max", spacing=2.0):
    fitted = fit_to_grid(read_scan(path), (16, 16, 16), spacing)
    return torch.from_numpy(scale_intensity(fitted.data, intensity)).half().float()


def test_an_existing_checkpoint_gets_a_reference(run):
    before = models.load("net.safetensors")
    code, out, err = run(
        "convert", "net.safetensors", "--reference", "mean.nii.gz", "-o", "new.safetensors"
    )
    assert code == 0, err
    assert "references NC: new.safetensors" in out
    after = models.load("new.safetensors")
    assert models.fingerprint(after) == models.fingerprint(before)
    assert list(after.references) == ["NC"]
    assert torch.equal(after.references["NC"], expected())
    facts = after.card.references["NC"]
    assert facts["file"] == "mean.nii.gz"
    assert len(facts["file_sha256"]) == 64
    assert after.card.provenance == before.card.provenance
    # Another class, in place, beside the first.
    save(brain(SHAPE) + 100, "a=b.nii")
    command = ["convert", "new.safetensors", "--reference", "AD=a=b.nii", "-o", "new.safetensors"]
    assert run(*command)[0] == 2  # it is there
    assert run(*command, "--overwrite")[0] == 0
    both = models.load("new.safetensors")
    assert torch.equal(both.references["NC"], after.references["NC"])
    assert torch.equal(both.references["AD"], expected("a=b.nii"))
    assert both.card.references["NC"] == facts
    # A name that holds the sign, for the first class.
    assert run("convert", "new.safetensors", "--reference", "a=b.nii", "-o", "other.safetensors")[0] == 0
    assert torch.equal(models.load("other.safetensors").references["NC"], expected("a=b.nii"))


@pytest.mark.parametrize("spacing", [None, 1.3, 4.0])
@pytest.mark.parametrize("intensity", ["max", "zscore", "none"])
def test_it_is_prepared_as_scans_are(intensity, spacing):
    turned = np.ascontiguousarray(brain(SHAPE)[::-1].transpose(1, 0, 2))
    affine = AFFINE[:, [1, 0, 2, 3]] @ np.diag([1.0, -1, 1, 1])
    save(turned, "turned.mgz.nii", affine)
    model = models.build(
        "resnet-shallow-gap", (16, 16, 16), preprocessing=Preprocessing(intensity, spacing)
    )
    image = read_reference("turned.mgz.nii", model.card)
    models.with_references(model, {"NC": image})
    assert image.dtype == torch.float32
    assert torch.equal(model.references["NC"], expected("turned.mgz.nii", intensity, spacing))


def test_a_published_checkpoint_gets_one_too(run):
    model = models.build("resnet-shallow-gap", (16, 16, 16), seed=1)
    arrays = []
    for module in model.modules():
        if hasattr(module, "running_var"):
            arrays += [module.bias, module.weight, module.running_mean, module.running_var]
        elif hasattr(module, "weight"):
            arrays += [module.weight.T if module.weight.dim() == 2 else module.weight, module.bias]
    np.savez("published.npz", *(a.detach().numpy() for a in arrays))
    code, out, err = run(
        "convert", "published.npz", "--arch", "resnet-shallow-gap", "--shape", "16", "--reference",
        "AD=mean.nii.gz", "-o", "x.safetensors",
    )  # fmt: skip
    assert code == 0, err
    assert "references AD" in out
    loaded = models.load("x.safetensors")
    assert list(loaded.references) == list(loaded.card.references) == ["AD"]
    assert torch.equal(loaded.references["AD"], expected())
    code, _, err = run("convert", "published.npz", "-o", "y.safetensors")
    assert code == 2
    assert "give --arch" in err


def test_a_pickled_checkpoint_becomes_one_of_safetensors(run):
    model = models.load("net.safetensors")
    torch.save({"card": model.card.to_dict(), "state_dict": model.state_dict()}, "net.pt")
    assert run("convert", "net.pt", "-o", "new.safetensors")[0] == 0
    assert models.fingerprint(models.load("new.safetensors")) == models.fingerprint(model)


def off_centre():
    data = np.zeros((60, 20, 17), np.float32)
    data[:18] = brain((18, 20, 17))
    return data


BROKEN = {
    "far": (off_centre, "only 0% of its voxels that are not 0 lie on the network's grid of 16x16x16"),
    "nan": (lambda: np.where(brain(SHAPE) > 600, np.nan, brain(SHAPE)), "NaN"),
    "zero": (lambda: np.zeros(SHAPE), "every voxel is 0"),
    "dark": (lambda: -brain(SHAPE), "no voxel on the model's grid is positive"),
    "series": (lambda: np.ones((*SHAPE, 3)) * np.arange(3), "is a series of volumes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_are_no_reference_are_refused(name, run):
    make, words = BROKEN[name]
    save(make(), "wrong.nii")
    before = sorted(os.listdir())
    code, out, err = run("convert", "net.safetensors", "--reference", "wrong.nii", "-o", "new.safetensors")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "wrong.nii: " in err
    assert words in err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(("start", "shown"), [(14, 8), (15, 9), (13, 7), (31, 7)])
def test_half_of_what_it_shows_must_lie_on_the_grid(start, shown):
    """The grid holds the middle 16 of 60 slices, from the 22nd on; the brain fills 16."""
    data = np.zeros((60, 16, 16))
    data[start : start + 16] = 1 + np.arange(16)[:, None, None]
    save(data, "part.nii", np.diag([2.0, 2, 2, 1]))
    card = models.load("net.safetensors").card
    if shown >= 8:
        assert int(read_reference("part.nii", card).any(2).any(1).sum()) == shown
        return
    with pytest.raises(ValueError, match="only 44% of its voxels that are not 0"):
        read_reference("part.nii", card)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--reference", "nobody=mean.nii.gz"], "'nobody' is not a class of the network"),
    (["--reference", "gone.nii"], "gone.nii"),
    (["--reference", "NC=gone.nii"], "gone.nii"),
    (["--reference", "mean.nii.gz", "--reference", "NC=mean.nii.gz"], "class NC has two references"),
    (["--reference", "mean.nii.gz", "--arch", "vggnet"], "--arch is for a published .npz"),
    (["--reference", "mean.nii.gz", "--flip-filters"], "--flip-filters is for a published .npz"),
    ([], "is a checkpoint already; --reference FILE adds a reference image"),
])  # fmt: skip
def test_bad_arguments_are_told(arguments, words, run):
    before = sorted(os.listdir())
    code, out, err = run("convert", "net.safetensors", *arguments, "-o", "new.safetensors")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert sorted(os.listdir()) == before


def test_a_scan_that_the_network_was_trained_on_is_refused(run):
    record = training_record(["s1"], ["s1"], [voxel_hash(read_scan("mean.nii.gz"))])
    models.save(models.load("net.safetensors"), "net.safetensors", trained=True, provenance=record)
    Path("mean.nii.gz").rename("other.nii.gz")
    code, _, err = run("convert", "net.safetensors", "--reference", "other.nii.gz", "-o", "new.safetensors")
    assert code == 2
    assert "was trained on this scan" in err


def test_strip_keeps_references(run):
    assert run("convert", "net.safetensors", "--reference", "mean.nii.gz", "-o", "new.safetensors")[0] == 0
    assert run("strip", "new.safetensors", "--remove", "-o", "stripped.safetensors")[0] == 0
    assert torch.equal(models.load("stripped.safetensors").references["NC"], expected())
