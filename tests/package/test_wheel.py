"""A wheel, built from this tree's sdist, works in an empty environment that has only torch and numpy."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from pyadx.evaluation import localization

nib = pytest.importorskip("nibabel")

ROOT = Path(__file__).resolve().parents[2]

SMOKE = Path(__file__).with_name("smoke.py")


def run(*command, **kwargs):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build")
    pytest.importorskip("pybind11")
    if shutil.which("cmake") is None:
        pytest.importorskip("cmake")
    # From a copy, so that neither stale build folders nor concurrent builds matter.
    tree = tmp_path_factory.mktemp("tree") / "pyadx"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "*.so", "*.egg-info", ".*_cache", "__pycache__", "demo-output"
    )
    shutil.copytree(ROOT, tree, ignore=ignored)
    out = tmp_path_factory.mktemp("dist")
    # Without --wheel, `build` makes the wheel from an sdist: a file that the sdist lacks is noticed.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), cwd=tree)
    assert len(list(out.glob("*.tar.gz"))) == 1
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_both_libraries_and_no_sources(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "pyadx/_C.so" in names
    assert any(n.startswith("pyadx/_ucm.") and n.endswith(".so") for n in names)
    assert "pyadx/py.typed" in names
    assert not [n for n in names if n.endswith((".cpp", ".cu", ".h")) or n.startswith(("tests", "csrc"))]
    assert wheel.stat().st_size < 10 * 2**20


# PYADX_WHEEL_TORCH=2.10.0,2.11.0 tries other versions than the one that is installed here.
TORCHES = os.environ.get("PYADX_WHEEL_TORCH", version("torch").split("+")[0]).split(",")


@pytest.fixture(scope="module", params=TORCHES)
def python(request, wheel, tmp_path_factory):
    """The interpreter of an environment that holds torch, numpy and the wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pins = [f"torch=={request.param}", f"numpy=={version('numpy')}"]
    offline = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *pins], capture_output=True, text=True, check=False
    )
    if offline.returncode != 0:
        pytest.skip(f"torch cannot be installed here: {offline.stderr.strip().splitlines()[-1]}")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel))
    return python


@pytest.fixture
def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_wheel_works_where_there_is_only_torch_and_numpy(python, environment, tmp_path):
    where = run(python, str(SMOKE), cwd=tmp_path, env=environment)
    assert str(Path(python).parents[1]) in where
    packages = run(python, "-m", "pip", "list", "--format=freeze")
    assert "nibabel" not in packages


def test_wheel_with_its_extra_explains_an_unseen_synthetic_patient(python, wheel, environment, tmp_path):
    """The demonstration, as somebody who installs the wheel runs it."""
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[report]")
    folder = tmp_path / "results"
    demo = [str(Path(python).with_name("pyadx")), "demo", "-o", "results"]
    out = run(*demo, cwd=tmp_path, env=environment)
    assert "SYNTHETIC" in out
    assert "a random map has" in out
    assert "results/demo.png" in out
    check_demonstration(folder)


def check_demonstration(folder):
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
