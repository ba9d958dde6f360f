import json

import numpy as np
import pytest

from pyadx.segmentation import load, ucm

nib = pytest.importorskip("nibabel")


def files(folder):
    return sorted(p.name for p in folder.iterdir() if not p.is_symlink())


@pytest.mark.parametrize(("figure", "start"), [("tree.png", b"\x89PNG"), ("tree.pdf", b"%PDF")])
def test_label_volumes_hierarchy_figure_and_sidecar(here, run, figure, start):
    pytest.importorskip("matplotlib")
    code, out, err = run(
        "segment", "scan.nii.gz", "-o", "labels.nii.gz", "--levels", "6", "--max-regions", "50",
        "--hierarchy", "tree.npz", "--figure", figure,
    )  # fmt: skip
    assert code == 0, err
    assert "regions per level: 50 " in out
    scan, labels = nib.load("scan.nii.gz"), nib.load("labels.nii.gz")
    assert np.array_equal(labels.affine, scan.affine)
    expected = ucm(scan.get_fdata(dtype=np.float32), spacing=2.0, max_levels=6, max_regions=50)
    tree = load("tree.npz")
    assert np.array_equal(tree.leaves, expected.leaves)
    facts = json.loads((here / "labels.json").read_text())
    assert facts["regions_per_level"] == expected.levels.tolist()
    for level in range(len(expected.levels)):
        assert np.array_equal(np.asarray(labels.dataobj)[..., level], expected.labels(level))
    assert (here / figure).read_bytes()[:4] == start
    assert files(here) == ["labels.json", "labels.nii.gz", "scan.nii.gz", "tree.npz", figure]


def test_a_mask_file_is_taken(here, run):
    scan = nib.load("scan.nii.gz")
    inside = np.zeros(scan.shape, np.uint8)
    inside[10:20, 10:20, 10:20] = 1
    nib.save(nib.Nifti1Image(inside, scan.affine), "mask.nii.gz")
    assert run("segment", "scan.nii.gz", "-o", "l.nii", "--mask", "mask.nii.gz", "-q")[0] == 0
    assert np.array_equal(np.asarray(nib.load("l.nii").dataobj)[..., 0] > 0, inside > 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "labels.txt"], "is written as .nii.gz or .nii"),
        (["-o", "l.nii.gz", "--preset", "best"], "preset must be one of"),
        (["-o", "l.nii.gz", "--linkage", "best"], "linkage must be one of"),
        (["-o", "l.nii.gz", "--levels", "0"], "max_levels must be"),
        (["-o", "l.nii.gz", "--hierarchy", "h.txt"], "a hierarchy is written as .npz"),
        (["-o", "l.nii.gz", "--figure", "h.txt"], "a figure is written as .png or .pdf"),
        (["-o", "scan.nii.gz", "--overwrite"], "is an input itself"),
        (["-o", "scan.nii.gz"], "exists already"),
        (["-o", "l.nii.gz", "--mask", "none.nii.gz"], "no such file"),
        (["-o", "l.nii.gz", "--mask", "small.nii.gz"], "has shape"),
        (["-o", "l.nii.gz", "--mask", "elsewhere.nii.gz"], "is not in the scan"),
    ],
)
def test_wrong_use_gives_one_line_and_leaves_no_file(arguments, words, here, run):
    scan = nib.load("scan.nii.gz")
    nib.save(nib.Nifti1Image(scan.get_fdata()[1:], scan.affine), "small.nii.gz")
    nib.save(nib.Nifti1Image(scan.get_fdata(), scan.affine + 1), "elsewhere.nii.gz")
    before = files(here)
    code, out, err = run("segment", "scan.nii.gz", *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert out == ""
    assert files(here) == before


def test_sa3ducm_tells_what_it_scored(here, run):
    code, out, err = run(
        "explain", "scan.nii.gz", "--model", "resnet-gap.safetensors", "--method",
        "sa3ducm:max_levels=3,max_regions=8,signed", "--target", "AD", "-o", "heat.nii.gz",
    )  # fmt: skip
    assert code == 0, err
    facts = json.loads((here / "heat.json").read_text())
    counts = facts["report"]
    assert counts["levels"] == 3
    assert counts["incremental"] + counts["full"] == counts["nodes"] - counts["skipped"]
    assert f"{counts['pairs']} segments on 3 levels, {counts['nodes']} distinct" in out
    assert facts["parameters"]["signed"] is True
    values = nib.load("heat.nii.gz").get_fdata()
    assert np.isfinite(values).all()
    assert values.any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "sa3ducm:preset=best"], "preset must be default, paper, release"),
        (["--method", "sa3ducm:max_levels=0"], "max_levels must be"),
        (["--method", "sa3ducm:window=7"], "sa3ducm has no option 'window'"),
        (["--method", "cam:signed"], "cam has no option 'signed'"),
    ],
)
def test_wrong_options_of_sa3ducm(arguments, words, here, run):
    common = ["explain", "scan.nii.gz", "--model", "resnet-gap.safetensors", "-o", "heat.nii.gz"]
    code, _, err = run(*common, *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
