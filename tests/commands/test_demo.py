import json

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("nilearn")
pytest.importorskip("matplotlib")


def test_demo_explains_the_mni_brain_end_to_end(tmp_path, run):
    folder = tmp_path / "results"
    code, out, _ = run("demo", "-o", folder)
    assert code == 0
    assert "UNTRAINED" in out
    assert str(folder / "demo.png") in out
    scan = nib.load(folder / "scan.nii.gz")
    brain = scan.get_fdata() > 0
    assert 230_000 < brain.sum() < 240_000
    for method in ("gradcam", "occlusion", "sa3ducm"):
        heat = nib.load(folder / f"{method}.nii.gz")
        assert heat.shape == scan.shape
        assert np.allclose(heat.affine, scan.affine)
        values = heat.get_fdata()
        assert np.isfinite(values).all()
        assert values.max() > 0
        assert values[brain].mean() > values[~brain].mean()
        assert "untrained" in json.loads((folder / f"{method}.json").read_text())["note"]
    assert (folder / "demo.png").stat().st_size > 50_000
    assert (folder / "hierarchy.png").stat().st_size > 50_000
    assert nib.load(folder / "labels.nii.gz").shape == (*scan.shape, 20)
