from pathlib import Path

import pytest
from commands_support import AFFINE, brain

from pyadx import models
from pyadx.models import Preprocessing


@pytest.fixture
def coarse_figures(monkeypatch):
    """Figures of a sixth of their resolution, where it is only tested that they are made."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    save = figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda self, *a, **k: save(self, *a, **{**k, "dpi": 50}))


@pytest.fixture
def undrawn_figures(monkeypatch):
    """Figures are put together and not drawn, where it is something else that is tested."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    monkeypatch.setattr(figure, "savefig", lambda self, path, **options: Path(path).write_bytes(b"drawn"))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    # As small as the first one can be; the other one takes any grid that holds the scan.
    for name, grid in (("resnet", (49, 50, 51)), ("resnet-gap", (41, 45, 37))):
        model = models.build(name, grid, preprocessing=Preprocessing("max", 2.0), seed=0)
        models.save(model, folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, checkpoints):
    """A folder with a scan and the checkpoints, as the working directory."""
    nib = pytest.importorskip("nibabel")
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(brain(), AFFINE), "scan.nii.gz")
    for file in checkpoints.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path
