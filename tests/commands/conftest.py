import pytest
from commands_support import AFFINE, brain

from pyadx import models
from pyadx.cli import main
from pyadx.models import Preprocessing


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("resnet", "resnet-gap"):
        model = models.build(name, (49, 50, 51), preprocessing=Preprocessing("max", 2.0), seed=0)
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


@pytest.fixture
def run(capfd):
    """Run the command line; returns exit code, standard output and standard error."""

    def call(*arguments):
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return call
