"""``pyadx flip``, and atlases for ``pyadx explain``."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands_support import AFFINE, brain

nib = pytest.importorskip("nibabel")
SHAPE = (20, 22, 18)
CODE = """
import torch
class Half(torch.nn.Module):
    '''Says AD where the left half of the scan is bright.'''
    def forward(self, x):
        left = x[:, 0, :9].mean((1, 2, 3)) * 40 - x[:, 0, 9:].mean((1, 2, 3))
        return torch.stack([torch.ones_like(left), left], 1)
"""
MODEL = ["--model", "half.py:Half", "--card", "card.toml"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("half.py").write_text(CODE)
    Path("card.toml").write_text('in_shape = [18, 20, 16]\nspacing = "none"\nclass_names = ["NC", "AD"]\n')
    nib.save(nib.Nifti1Image(brain(SHAPE), AFFINE), "scan.nii.gz")
    labels = np.full(SHAPE, 4, np.int16)
    # AFFINE runs from right to left: these are the voxels with the largest index.
    labels[10:, :11], labels[10:, 11:] = 17, 53
    labels[brain(SHAPE) == 0] = 0
    nib.save(nib.Nifti1Image(labels, AFFINE), "atlas.nii.gz")
    Path("atlas.tsv").write_text("index\tname\n4\tright half\n17\tleft, back\n53\tleft, front\n")
    return tmp_path


def test_regions_are_listed_and_written_on_the_scan(folder, run):
    code, out, err = run(
        "flip", "scan.nii.gz", *MODEL, "--regions", "atlas.nii.gz", "--fill", "zero", "-o", "out.nii.gz"
    )
    assert code == 0, err
    assert "the class changes; score" in out
    facts = json.loads(Path("out.json").read_text())
    assert facts["prediction"]["AD"] > 0.5
    assert facts["atlas"] == {"file": "atlas.nii.gz"}
    names = facts["report"]["names"]
    assert names
    assert set(names) <= {"left, back", "left, front"}
    places, labels = (np.asarray(nib.load(name).dataobj) for name in ("out.nii.gz", "atlas.nii.gz"))
    for place, label in enumerate(facts["report"]["labels"], start=1):
        assert np.array_equal(places == place, labels == label)
    assert places.max() == len(names)
    code, out, _ = run(
        "flip",
        "scan.nii.gz",
        *MODEL,
        "--regions",
        "atlas.nii.gz",
        "--keep",
        "-o",
        "kept.nii.gz",
        "--fill",
        "zero",
    )
    assert code == 0
    assert "alone hold the class" in out
    assert run("flip", "scan.nii.gz", *MODEL, "-o", "out.nii.gz")[0] == 2  # it is there


def test_segments_where_there_is_no_atlas(folder, run):
    code, _, err = run(
        "flip", "scan.nii.gz", *MODEL, "--max-regions", "8", "--fill", "zero", "-o", "out.nii.gz"
    )
    assert code == 0, err
    facts = json.loads(Path("out.json").read_text())
    assert facts["atlas"] is None
    places = np.asarray(nib.load("out.nii.gz").dataobj)
    assert places.max() == len(facts["report"]["labels"]) > 0
    assert not places[brain(SHAPE) == 0].any()


@pytest.mark.parametrize("method", ["shapley:pairs=2,fill=zero", "flip:fill=zero"])
def test_explain_takes_an_atlas(folder, run, method):
    command = ["explain", "scan.nii.gz", *MODEL, "--method", method, "--target", "AD", "-o", "heat.nii.gz"]
    code, _, err = run(*command, "--regions", "atlas.nii.gz")
    assert code == 0, err
    facts = json.loads(Path("heat.json").read_text())
    assert facts["atlas"] == {"file": "atlas.nii.gz", "key": None}
    assert "left, back" in facts["report"]["names"]


def test_explain_takes_groups_of_an_atlas(folder, run):
    Path("atlas.tsv").write_text(
        "index\tname\tside\tlobe\n4\tright half\tright\tn/a\n17\tleft, back\tleft\tback\n"
        "53\tleft, front\tleft\tfront\n60\tmissing\tleft\tfront\n"
    )
    command = ["explain", "scan.nii.gz", *MODEL, "--target", "AD", "-o", "heat.nii.gz", "--overwrite"]
    command += ["--regions", "atlas.nii.gz", "--groups", "side,lobe"]
    code, _, err = run(*command, "--method", "shapley:fill=zero")
    assert code == 0, err
    facts = json.loads(Path("heat.json").read_text())
    assert facts["atlas"]["groups"] == ["side", "lobe"]
    assert facts["report"]["names"] == ["left, back", "left, front", "right half"]
    assert facts["report"]["exact"]
    assert facts["report"]["depth"] == 2
    code, _, err = run(*command, "--method", "shapley:fill=zero,players=group")
    assert code == 0, err
    facts = json.loads(Path("heat.json").read_text())
    assert facts["report"]["names"] == ["left", "right"]
    assert facts["report"]["members"] == [[17, 53], [4]]
    for method, columns, words in (
        ("shapley:fill=zero", "lobes", "has no column 'lobes'; columns are index, name, side, lobe"),
        ("flip:fill=zero", "side", "--groups has no meaning for flip"),
        ("shapley:fill=zero,players=group", "", "players=group needs"),
    ):
        code, _, err = run(*command, "--method", method, "--groups", columns)
        assert code == 2
        assert words in err
    code, _, err = run("explain", "scan.nii.gz", *MODEL, "--method", "shapley", "--groups", "side",
                       "-o", "new.nii.gz")  # fmt: skip
    assert code == 2
    assert "--groups gives columns of an atlas" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--regions", "atlas.nii.gz", "--key", "none.tsv"], "none.tsv"),
        (["--key", "atlas.tsv"], "give the atlas with --regions"),
        (["--regions", "small.nii.gz"], "region 99 has no voxel on the network's grid"),
        (["--target", "MCI"], "MCI"),
        (["--fill", "nothing"], "nothing"),
    ],
)
def test_bad_input_is_told_in_one_line(folder, run, arguments, words):
    labels = np.asarray(nib.load("atlas.nii.gz").dataobj).copy()
    labels[0, 0, 0] = 99  # the grid is smaller
    nib.save(nib.Nifti1Image(labels, AFFINE), "small.nii.gz")
    code, _, err = run("flip", "scan.nii.gz", *MODEL, "-o", "out.nii.gz", *arguments)
    assert code == 2
    assert words in err
    assert not Path("out.nii.gz").exists()


SHAPLEY = ["explain", "scan.nii.gz", *MODEL, "--method", "shapley:pairs=2,fill=zero", "-o", "heat.nii.gz"]


def test_explain_writes_the_regions_into_a_table(folder, run):
    command = [*SHAPLEY, "--regions", "atlas.nii.gz", "--table", "shares.tsv"]
    code, _, err = run(*command)
    assert code == 0, err
    report = json.loads(Path("heat.json").read_text())["report"]
    head, *rows = [line.split("\t") for line in Path("shares.tsv").read_text().splitlines()]
    assert head == ["name", "label", "value", "standard_error", "alone", "first", "voxels"]
    columns = ("names", "labels", "values", "errors", "alone", "first", "voxels")
    expected = zip(*(map(str, report[column]) for column in columns), strict=True)
    assert sorted(rows) == sorted(map(list, expected))
    Path("heat.nii.gz").unlink()
    Path("heat.json").unlink()
    code, _, err = run(*command)
    assert code == 2
    assert "shares.tsv: exists already" in err
    assert not Path("heat.nii.gz").exists()
    assert run(*command, "--overwrite")[0] == 0


def test_a_table_appears_with_its_heatmap_or_not_at_all(folder, run, monkeypatch):
    from pyadx.commands.explaining import explain as explain_module

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(explain_module, "write_heatmap", full)
    assert run(*SHAPLEY, "--regions", "atlas.nii.gz", "--table", "shares.tsv")[0] != 0
    assert not Path("shares.tsv").exists()
    assert not list(folder.glob(".partial*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table", "shares.csv"], "a table is written as .tsv"),
        (["--table", "atlas.tsv", "--overwrite"], "is the key of the atlas"),
        (["--table", "no/folder.tsv"], "no such folder"),
        (["--table", "shares.tsv", "--method", "occlusion"], "has no meaning for occlusion"),
    ],
)
def test_a_table_that_cannot_be_is_told_in_one_line(folder, run, arguments, words):
    atlas = [] if "occlusion" in arguments else ["--regions", "atlas.nii.gz"]
    key = Path("atlas.tsv").read_text()
    code, _, err = run(*SHAPLEY, *atlas, *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert Path("atlas.tsv").read_text() == key
    assert not Path("heat.nii.gz").exists()


def test_methods_without_regions_take_no_atlas(folder, run):
    command = ["explain", "scan.nii.gz", *MODEL, "--method", "occlusion", "-o", "heat.nii.gz"]
    code, _, err = run(*command, "--regions", "atlas.nii.gz")
    assert code == 2
    assert "--regions has no meaning for occlusion" in err
