import json

import numpy as np
import pytest

from pyadx.evaluation import localization

nib = pytest.importorskip("nibabel")
pytest.importorskip("nilearn")
pytest.importorskip("matplotlib")


def test_demo_explains_an_unseen_synthetic_patient_end_to_end(tmp_path, run):
    folder = tmp_path / "results"
    code, out, _ = run("demo", "-o", folder)
    assert code == 0
    assert "SYNTHETIC" in out
    assert "a random map has" in out
    assert str(folder / "demo.png") in out
    scan = nib.load(folder / "scan.nii.gz")
    brain = scan.get_fdata() > 0
    assert 200_000 < brain.sum() < 300_000
    planted = nib.load(folder / "planted.nii.gz")
    assert np.allclose(planted.affine, scan.affine)
    for method in ("gradcam", "cam", "occlusion", "sa3ducm"):
        heat = nib.load(folder / f"{method}.nii.gz")
        assert heat.shape == scan.shape
        assert np.allclose(heat.affine, scan.affine)
        values = heat.get_fdata()
        assert np.isfinite(values).all()
        assert np.abs(values[brain]).mean() > np.abs(values[~brain]).mean()
        facts = json.loads((folder / f"{method}.json").read_text())
        assert facts["model"]["trained"]
        assert facts["prediction"]["AD"] > 0.5
        assert not facts["scan"]["seen_in_training"]
    core = np.abs(planted.get_fdata()) > 0.5 * np.abs(planted.get_fdata()).max()
    for method in ("sa3ducm", "occlusion"):
        heat = np.abs(nib.load(folder / f"{method}.nii.gz").get_fdata())
        found = localization(heat, {"core": core}, brain)["core"]
        assert found.average_precision > 5 * found.prevalence, method
    assert (folder / "demo.png").stat().st_size > 50_000
    assert (folder / "hierarchy.png").stat().st_size > 50_000
    assert nib.load(folder / "labels.nii.gz").shape == (*scan.shape, 20)
