"""``pyadx explain`` beyond one image of one person: channels, regressions, several scans."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands_support import AFFINE, brain, save_small_network

from pyadx import Occlusion, models
from pyadx.data import read_scan
from pyadx.data.grids import fit_to_card, map_to_scan

nib = pytest.importorskip("nibabel")
OCCLUSION = ["--method", "occlusion:window=6,stride=5,fill=0"]
CODE = """
import torch
class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv3d(2, 3, 3)
        self.head = torch.nn.Linear(3, 2)
    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).amax((2, 3, 4)))
class Age(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv3d(1, 3, 3)
    def forward(self, x):
        return {"age": 60 + 9 * torch.relu(self.conv(x)).mean((2, 3, 4)).sum(1)}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(CODE)
    shape = (20, 22, 18)
    grid = 'in_shape = [18, 20, 16]\nspacing = "none"\n'
    Path("two.toml").write_text(grid + 'class_names = ["NC", "AD"]\nchannels = 2\n')
    Path("age.toml").write_text(grid + 'class_names = ["age"]\ntask = "regression"\noutput = "age"\n')
    nib.save(nib.Nifti1Image(brain(shape), AFFINE), "t1.nii.gz")
    nib.save(nib.Nifti1Image(900 - brain(shape) * (brain(shape) > 0), AFFINE), "t2.nii.gz")
    return tmp_path


def heat(path):
    return nib.load(path).get_fdata(dtype=np.float32)


def test_two_channels_give_the_map_of_python(folder, run):
    command = ["explain", "t1.nii.gz", "--model", "own.py:Two", "--card", "two.toml", *OCCLUSION]
    code, _, err = run(*command, "--channel", "t2.nii.gz", "--target", "AD", "-o", "heat.nii.gz")
    assert code == 0, err
    facts = json.loads(Path("heat.json").read_text())
    assert [one["file"] for one in facts["scan"]["further_channels"]] == ["t2.nii.gz"]
    card = models.read_card("two.toml", "Two")
    fitted = [fit_to_card(read_scan(name), card) for name in ("t1.nii.gz", "t2.nii.gz")]
    volume = torch.from_numpy(np.stack([one.data / one.data.max() for one in fitted]))[None]
    space = {}
    exec(CODE, space)
    explain = Occlusion(space["Two"]().eval(), window=6, stride=5, fill=0.0)
    expected = map_to_scan(explain(volume, target=1)[0].numpy(), fitted[0])
    assert np.allclose(heat("heat.nii.gz"), expected, atol=1e-6)


def test_a_channel_on_other_voxels_is_resampled_by_where_it_lies(folder, run):
    # The same image, cut and turned: its header says where it lies.
    whole = nib.load("t2.nii.gz")
    cut = nib.Nifti1Image(whole.get_fdata()[::-1, 1:, :-1], whole.affine @ np.array(
        [[-1, 0, 0, 19], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]))  # fmt: skip
    nib.save(cut, "cut.nii.gz")
    command = ["explain", "t1.nii.gz", "--model", "own.py:Two", "--card", "two.toml", *OCCLUSION, "-q"]
    for name in ("t2", "cut"):
        code, _, err = run(*command, "--channel", f"{name}.nii.gz", "-o", f"{name}-heat.nii.gz")
        assert code == 0, err
    assert np.allclose(heat("t2-heat.nii.gz"), heat("cut-heat.nii.gz"), atol=1e-5)


def test_the_number_of_channels_and_their_place_are_checked(folder, run):
    command = ["explain", "t1.nii.gz", *OCCLUSION, "-o", "heat.nii.gz", "--model"]
    two = ["own.py:Two", "--card", "two.toml"]
    assert "takes 2 images of a person, got 1; give the others with --channel" in run(*command, *two)[2]
    save_small_network("net.safetensors")
    code, _, err = run(*command, "net.safetensors", "--channel", "t2.nii.gz")
    assert code == 2
    assert "the network takes one image of a person, got 2" in err
    away = AFFINE.copy()
    away[:3, 3] += 500
    nib.save(nib.Nifti1Image(brain((20, 22, 18)), away), "away.nii.gz")
    code, _, err = run(*command, *two, "--channel", "away.nii.gz")
    assert code == 2
    assert "away.nii.gz: covers 0% of the voxels of t1.nii.gz that are not 0" in err


def test_a_regression_is_explained_in_its_units(folder, run):
    command = ["explain", "t1.nii.gz", "--model", "own.py:Age", "--card", "age.toml", *OCCLUSION]
    code, out, err = run(*command, "-o", "heat.nii.gz")
    assert code == 0, err
    facts = json.loads(Path("heat.json").read_text())
    assert f"prediction: age {facts['prediction']['age']:.3f}" in out
    assert facts["prediction"]["age"] > 50
    assert facts["target"]["name"] == "age"


def test_several_scans_and_folders(folder, run):
    save_small_network("net.safetensors")
    (folder / "more").mkdir()
    for name in ("b.nii", "a.nii.gz"):
        nib.save(nib.Nifti1Image(brain((20, 21, 18)), AFFINE), folder / "more" / name)
    (folder / "more" / "notes.txt").write_text("no scan")
    command = [
        "explain",
        "t1.nii.gz",
        "more",
        "--model",
        "net.safetensors",
        "--method",
        "cam",
        "-o",
        "maps",
    ]
    code, out, err = run(*command)
    assert code == 0, err
    names = sorted(path.name for path in Path("maps").glob("*.nii.gz"))
    assert [name.split("_")[0] for name in names] == ["a", "b", "t1"]
    assert out.count("prediction: ") == 3
    assert (
        run("explain", "t1.nii.gz", "--model", "net.safetensors", "--method", "cam", "-o", "one.nii.gz")[0]
        == 0
    )
    assert np.array_equal(heat("one.nii.gz"), heat(Path("maps") / names[2]))
    code, _, err = run(*command)
    assert code == 2
    assert "exists already; use --resume to explain the others" in err
    before = (Path("maps") / names[0]).stat().st_mtime_ns
    (Path("maps") / names[1]).unlink()
    (Path("maps") / names[1].replace(".nii.gz", ".json")).unlink()
    code, out, _ = run(*command, "--resume")
    assert (code, out.count("prediction: ")) == (0, 1)
    assert (Path("maps") / names[0]).stat().st_mtime_ns == before


def test_one_bad_scan_does_not_stop_the_others(folder, run):
    save_small_network("net.safetensors")
    Path("bad.nii.gz").write_bytes(b"no scan")
    command = ["explain", "bad.nii.gz", "t1.nii.gz", "--model", "net.safetensors", "--method", "cam"]
    code, _, err = run(*command, "-o", "maps")
    assert code == 1
    assert "1 of 2 scans could not be explained" in err
    assert len(list(Path("maps").glob("*.nii.gz"))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["t1.nii.gz", "t2.nii.gz", "-o", "heat.nii.gz"], "name a folder with -o"),
        (["t1.nii.gz", "more/t1.nii.gz", "-o", "maps"], "another scan of that name"),
        (["empty", "-o", "maps"], "empty: holds no scan"),
        (["t1.nii.gz", "t2.nii.gz", "-o", "maps", "--figure", "f.png"], "take one scan"),
    ],
)
def test_what_does_not_go_with_several_scans(folder, run, arguments, words):
    save_small_network("net.safetensors")
    for name in ("more", "empty"):
        (folder / name).mkdir()
    nib.save(nib.Nifti1Image(brain((20, 21, 18)), AFFINE), folder / "more" / "t1.nii.gz")
    code, _, err = run("explain", *arguments, "--model", "net.safetensors", "--method", "cam")
    assert code == 2
    assert words in err
    assert not Path("maps").exists()
