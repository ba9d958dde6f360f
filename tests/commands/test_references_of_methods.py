"""References on the command line: files, facts in sidecars, a second one beside the first."""

import json

import numpy as np
import pytest
import torch
from commands_support import AFFINE, brain, save_small_network

import pyadx
from pyadx import models
from pyadx.commands.explaining.heatmaps import heatmap_of, make_job
from pyadx.commands.explaining.references import compared
from pyadx.data import fit_to_grid, read_scan
from pyadx.data.cohort import ScanRecord
from pyadx.data.inputs import prepared_volume
from pyadx.data.reference_scans import reference_on_scan
from pyadx.explainers import MethodSpec

nib = pytest.importorskip("nibabel")
OPTIONS = "window=5,stride=5"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(brain(), AFFINE), "scan.nii.gz")
    nib.save(nib.Nifti1Image(np.flip(1.5 * brain() ** 1.1, 0).copy(), AFFINE @ flipped(40)), "twin.nii.gz")
    save_small_network("net.safetensors")
    model = models.load("net.safetensors")
    fitted = fit_to_grid(read_scan("scan.nii.gz"), (16, 16, 16), 2.0)
    mean = prepared_volume(fitted, model.card)[0, 0] * 0.8
    models.with_references(model, {"NC": mean}, {"NC": {"scans": 9}})
    models.save(model, "controls.safetensors")
    return tmp_path


def flipped(length):
    """Voxels counted from the other end along the first axis: the same places, stored otherwise."""
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = length - 1
    return turned


def explain(run, method, *more, model="net.safetensors", out="heat.nii.gz"):
    return run(
        "explain", "scan.nii.gz", "--model", model, "--method", method, "--target", "AD", "-o", out, *more
    )


def facts(name="heat.json"):
    return json.loads(open(name).read())


def test_a_file_is_read_onto_the_scan_and_named_without_its_folder(folder, run):
    (folder / "there").mkdir()
    (folder / "twin.nii.gz").rename(folder / "there" / "twin.nii.gz")
    code, out, err = explain(run, f"occlusion:{OPTIONS},fill=scan:{folder}/there/twin.nii.gz")
    assert code == 0, err
    said = facts()
    assert said["reference"]["name"] == "scan:twin.nii.gz"
    assert len(said["reference"]["voxels_sha256"]) == 64
    assert str(folder) not in (folder / "heat.json").read_text() + out
    model = models.load("net.safetensors")
    fitted = fit_to_grid(read_scan("scan.nii.gz"), (16, 16, 16), 2.0)
    other = reference_on_scan("there/twin.nii.gz", fitted, model.card)
    straight = fit_to_grid(read_scan("there/twin.nii.gz"), (16, 16, 16), 2.0).data
    assert torch.allclose(other, torch.from_numpy(straight / straight.max()), atol=1e-5)
    volume = prepared_volume(fitted, model.card)
    heat = pyadx.Occlusion(model, 5, 5, fill="scan:there/twin.nii.gz", spacing=2.0)(
        volume, "AD", reference=other
    )
    assert np.abs(nib.load("heat.nii.gz").get_fdata()).max() == pytest.approx(
        float(heat.abs().max()), rel=1e-5
    )


def test_a_file_on_another_grid_is_looked_up_by_world_coordinates(folder):
    fitted = fit_to_grid(read_scan("scan.nii.gz"), (16, 16, 16), 2.0)
    card = models.load("net.safetensors").card
    fine = np.diag([2.0, 2, 2, 1])
    fine[:3, 3] = fitted.affine[:3, 3] - 6
    place = np.stack(np.meshgrid(*[np.arange(24.0)] * 3, indexing="ij")).reshape(3, -1)
    world = fine[:3, :3] @ place + fine[:3, 3:]
    ramp = (world.sum(0) + 200).reshape(24, 24, 24)
    nib.save(nib.Nifti1Image(ramp.astype(np.float32), fine), "ramp.nii")
    own = np.stack(np.meshgrid(*[np.arange(16.0)] * 3, indexing="ij")).reshape(3, -1)
    expected = (fitted.affine[:3, :3] @ own + fitted.affine[:3, 3:]).sum(0).reshape(16, 16, 16) + 200
    found = reference_on_scan("ramp.nii", fitted, card).numpy()
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)


def test_files_that_do_not_fit_are_refused_in_one_line(folder, run):
    away = AFFINE.copy()
    away[:3, 3] += 500
    nib.save(nib.Nifti1Image(brain(), away), "away.nii.gz")
    nib.save(nib.Nifti1Image(np.full((9, 9, 9), np.nan, np.float32), AFFINE), "nan.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.float32), AFFINE), "empty.nii.gz")
    for name, words in (("away", "covers 0%"), ("nan", "NaN"), ("empty", ""), ("missing", "no such")):
        code, _, err = explain(run, f"occlusion:{OPTIONS},fill=scan:{name}.nii.gz")
        assert code == 2
        assert words in err
        assert err.count("\n") == 1
        assert not (folder / "heat.nii.gz").exists()
    code, _, err = explain(run, f"occlusion:{OPTIONS},fill=controls")
    assert code == 2
    assert "pyadx convert --reference" in err


def test_controls_come_with_the_network(folder, run):
    code, _, err = explain(run, f"occlusion:{OPTIONS},fill=controls", model="controls.safetensors")
    assert code == 0, err
    assert facts()["reference"]["name"] == "controls"
    assert len(facts()["reference"]["voxels_sha256"]) == 64


def test_a_second_reference_gives_a_second_map_and_says_how_far_they_agree(folder, run):
    code, out, err = explain(run, f"occlusion:{OPTIONS}", "--second-reference", "zero")
    assert code == 0, err
    assert "second reference 0: the maps correlate by" in out
    first, second = (nib.load(name).get_fdata() for name in ("heat.nii.gz", "heat_reference-0.nii.gz"))
    own = compared(first, second, AFFINE)
    said = facts()
    assert said["reference"] == {"option": "fill", "name": "local"}
    assert said["second_reference"]["correlation"] == pytest.approx(own["correlation"], abs=1e-3)
    assert said["second_reference"]["file"] == "heat_reference-0.nii.gz"
    assert facts("heat_reference-0.json")["spelling"] == f"occlusion:{OPTIONS},fill=0"
    alone = explain(run, f"occlusion:{OPTIONS},fill=0", out="alone.nii.gz")
    assert alone[0] == 0
    np.testing.assert_array_equal(nib.load("alone.nii.gz").get_fdata(), second)


def test_both_maps_follow_the_batch_size(folder, run, monkeypatch):
    built = []

    def build(spec, model, **how):
        built.append((spec.canonical, how["batch_size"]))
        return original(spec, model, **how)

    original = MethodSpec.build
    monkeypatch.setattr(MethodSpec, "build", build)
    code, _, err = explain(run, f"occlusion:{OPTIONS}", "--second-reference", "zero", "--batch-size", "3")
    assert code == 0, err
    assert built == [(f"occlusion:{OPTIONS}", 3), (f"occlusion:{OPTIONS},fill=0", 3)]


@pytest.mark.parametrize(
    ("method", "word", "words"),
    [
        ("gradcam", "zero", "has no reference"),
        (f"occlusion:{OPTIONS}", "local", "is the same as the first reference"),
        (f"occlusion:{OPTIONS}", "blur", "it is called 'local' here"),
    ],
)
def test_a_second_reference_that_has_no_meaning_is_refused(folder, run, method, word, words):
    code, _, err = explain(run, method, "--second-reference", word)
    assert code == 2
    assert words in err
    assert not list(folder.glob("heat*"))


def test_comparison_of_maps():
    first = np.zeros((2, 2, 2))
    first[0, 0, 0], first[1, 1, 1], first[0, 1, 0] = 3.0, -2.0, 1.0
    second = np.array(first)
    second[1, 1, 1] = 5.0
    found = compared(first, second, np.diag([2.0, 3, 4, 1]))
    assert found["share_with_other_sign"] == pytest.approx(2 / 6, abs=1e-6)
    assert found["strongest_flip"] == {"at_mm": [2.0, 3.0, 4.0], "first": -2.0, "second": 5.0}
    assert compared(first, first, np.eye(4))["correlation"] == 1.0
    assert compared(np.zeros((2, 2, 2)), first * 0, np.eye(4)) == {
        "correlation": None,
        "share_with_other_sign": 0.0,
    }


def test_a_map_with_another_reference_is_not_taken_for_this_one(folder, run):
    record = ScanRecord(folder / "scan.nii.gz", "sub-1", "AD", "scan")
    job = make_job(f"occlusion:{OPTIONS},fill=scan:{folder}/twin.nii.gz", folder / "net.safetensors")
    root = folder / "derivatives"

    def made():
        heat, _, path = heatmap_of(job, root, record, "AD", "cpu", False)
        return heat, path.stat().st_mtime_ns

    heat, when = made()
    assert made()[1] == when
    nib.save(nib.Nifti1Image(brain() * np.linspace(0.5, 1, 36, dtype=np.float32), AFFINE), "twin.nii.gz")
    again, later = made()
    assert later > when
    assert not np.array_equal(heat, again)
    sidecar = next(root.rglob("*.json"))
    changed = json.loads(sidecar.read_text())
    changed["parameters"]["signed"] = False  # as an earlier version's default, under the same spelling
    sidecar.write_text(json.dumps(changed))
    assert made()[1] > later
