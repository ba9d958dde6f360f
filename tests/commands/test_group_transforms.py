"""``pyadx group --transforms``: maps in scans' own spaces, brought to one common grid."""

import json
import shutil
import signal

import nibabel as nib
import numpy as np
import pytest
from group_maps import group_maps, labels, save_map, sidecar
from group_runs import results, start_and_kill
from scipy import ndimage

from pyadx.data.scans import read_volume

pytest.importorskip("nilearn")
pytest.importorskip("nitransforms")
from transform_files import composite, fsl_mat, itk_text

SPACE = "MNI152NLin2009cAsym"
REFERENCE = f"tpl-{SPACE}_res-02_T1w.nii.gz"
COMMON = np.array([[2.0, 0, 0, -11], [0, 2.0, 0, -12], [0, 0, 2.5, -13], [0, 0, 0, 1]])
GRID = (12, 13, 11)
MORE = ["--transforms", "xfm", "--reference", REFERENCE]


def command(*more, out="out", maps="own"):
    fixed = ["--participants", "participants.tsv", "--contrast", "AD - NC", "-o", out]
    return ["group", maps, *fixed, "--permutations", "49", "--null", "2", "-q", *more]


def own_space(number):
    """Where a subject lay in the scanner: affine of the map, and the transform to the map (RAS+)."""
    generator = np.random.default_rng([7, number])
    matrix = np.eye(4)
    matrix[:3, :3] += generator.normal(scale=0.04, size=(3, 3))
    matrix[:3, 3] = generator.uniform(-6, 6, 3)
    sizes = generator.uniform(1.6, 2.2, 3)
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = matrix[:3, 3] - sizes * 8
    return affine, matrix


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Maps of 12 subjects, each on a grid of its own, their transforms, and the template."""
    monkeypatch.chdir(tmp_path)
    group_maps(tmp_path, subjects=12)
    for number in range(12):
        affine, matrix = own_space(number)
        values = np.random.default_rng(number).normal(size=(16, 17, 15 + number % 3))
        name = f"sub-{number:02d}_ses-M00_desc-occlusion_heatmap.nii.gz"
        save_map(tmp_path / "own" / name, values, sidecar(), affine)
        folder = tmp_path / "xfm" / f"sub-{number:02d}"
        folder.mkdir(parents=True)
        names = [
            f"sub-{number:02d}_from-{a}_to-{b}_mode-image_xfm.h5"
            for a, b in (("T1w", SPACE), (SPACE, "T1w"))
        ]
        composite(folder / names[0], matrix)
        composite(folder / names[1], np.linalg.inv(matrix))
    brain = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=GRID), 1).astype(np.float32)
    nib.save(nib.Nifti1Image(brain, COMMON), tmp_path / REFERENCE)
    image = nib.Nifti1Image(np.pad(labels(), [(0, 0), (0, 2), (0, 1)]).astype(np.int16), COMMON)
    nib.save(image, tmp_path / "atlas.nii.gz")
    return tmp_path


def moved_by_hand(folder, number):
    """A subject's map at every voxel of the template, by SciPy."""
    scan = nib.load(folder / "own" / f"sub-{number:02d}_ses-M00_desc-occlusion_heatmap.nii.gz")
    whole = np.linalg.inv(scan.affine) @ own_space(number)[1] @ COMMON
    data = scan.get_fdata()
    return ndimage.affine_transform(data, whole[:3, :3], whole[:3, 3], GRID, order=1, mode="grid-constant")


def test_moved_maps_are_what_the_analysis_sees(here, run):
    code, _, err = run(*command(*MORE, "--regions", "atlas.nii.gz", "--normalise", "none"))
    assert (code, err) == (0, "")
    out = here / "out"
    slow = np.stack([moved_by_hand(here, number) for number in range(12)])
    first = np.arange(12) % 2 == 1
    prefix = f"group_space-{SPACE}_res-02_desc"
    mask = np.asarray(nib.load(out / f"{prefix}-tested_mask.nii.gz").dataobj) > 0
    assert (mask == (np.abs(slow) > 1e-5).any(0)).mean() > 0.999
    for group, part in (("AD", slow[first]), ("NC", slow[~first])):
        image = nib.load(out / f"{prefix}-{group}_stat-mean_statmap.nii.gz")
        np.testing.assert_array_equal(image.affine, COMMON)
        np.testing.assert_allclose(image.get_fdata(), part.mean(0) * mask, atol=1e-5)
    rows = [line.split("\t") for line in (out / "second_level.tsv").read_text().splitlines()[1:]]
    for number, (subject, _, path) in enumerate(rows):
        assert (subject, path.split("/")[0]) == (f"sub-{number:02d}", "maps")
        moved = nib.load(out / path)
        np.testing.assert_allclose(moved.get_fdata(), slow[number], atol=2e-5)
        np.testing.assert_array_equal(moved.affine, COMMON)
    facts = json.loads((out / "group.json").read_text())
    told = facts["transforms"]
    assert (told["reference"], told["interpolation"], len(told["maps"])) == (REFERENCE, "linear", 12)
    assert len({one["transform_sha256"] for one in told["maps"]}) == 12
    assert told["maps"][3] == {
        "participant_id": "sub-03",
        "map": "sub-03_ses-M00_desc-occlusion_heatmap.nii.gz",
        "transform": f"sub-03_from-T1w_to-{SPACE}_mode-image_xfm.h5",
        "transform_sha256": told["maps"][3]["transform_sha256"],
        "moved": f"sub-03_ses-M00_space-{SPACE}_res-02_desc-occlusion_heatmap.nii.gz",
    }
    assert facts["maps"]["space"] == f"{SPACE}_res-02"
    assert facts["software"]["nitransforms"]
    assert f"to the voxels of {REFERENCE}" in facts["methods"]
    note = json.loads((out / "maps" / told["maps"][3]["moved"].replace(".nii.gz", ".json")).read_text())
    assert note["moved"]["transform"] == told["maps"][3]["transform"]
    assert str(here) not in json.dumps([facts, note])
    assert not list(here.glob("*.work"))


def test_moved_maps_form_a_group_of_their_own(here, run):
    assert run(*command(*MORE))[0] == 0
    code, _, err = run(*command(maps="out/maps", out="again"))
    assert (code, err) == (0, "")
    one, two = results("out"), results("again")
    note, again = one.pop("group.json"), two.pop("group.json")
    assert again["transforms"] is None
    assert [again[key] for key in ("voxels", "normalisation")] == [
        note[key] for key in ("voxels", "normalisation")
    ]
    for name in two:
        if name.endswith("statmap.nii.gz"):
            np.testing.assert_array_equal(
                *(nib.load(here / f / name).get_fdata() for f in ("out", "again"))
            )


def test_overwriting_takes_the_moved_maps_away(here, run):
    assert run(*command(*MORE))[0] == 0
    assert len(list((here / "out/maps").iterdir())) == 24
    shutil.copytree(here / "out/maps", here / "common")
    assert run(*command("--overwrite", maps="common"))[0] == 0
    assert not (here / "out/maps").exists()


def test_workers_and_an_interruption_give_the_same_bytes(here, run):
    killed = [word for word in command(*MORE) if word not in ("-o", "out")]
    assert run(*command(*MORE, out="undisturbed"))[0] == 0
    start_and_kill(killed, "moved-00000")
    (folder,) = (path for path in (here / "out.work").iterdir() if path.is_dir())
    moved = sorted((folder / "maps").glob("*.nii.gz"))
    assert len(moved) == 8
    kept = {path.name: path.stat().st_mtime_ns for path in moved}
    start_and_kill(killed, "sums-00000", how=signal.SIGINT)
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in (folder / "maps").iterdir()}.items()
    moved[2].write_bytes(moved[3].read_bytes())  # another subject's
    assert run(*command(*MORE, "--workers", "2"))[0] == 0
    assert results("out") == results("undisturbed")
    (here / "xfm/sub-03" / f"sub-03_from-T1w_to-{SPACE}_mode-image_xfm.h5").unlink()
    composite(here / "xfm/sub-03" / f"sub-03_from-T1w_to-{SPACE}_mode-image_xfm.h5", np.eye(4))
    assert run(*command(*MORE, "--overwrite"))[0] == 0
    assert results("out") != results("undisturbed")


def test_flirt_matrices_and_text_files_give_the_same_maps(here, run):
    assert run(*command(*MORE))[0] == 0
    reference = (COMMON, GRID)
    for number in range(12):
        affine, matrix = own_space(number)
        scan = read_volume(here / "own" / f"sub-{number:02d}_ses-M00_desc-occlusion_heatmap.nii.gz")
        folder = here / "other" / f"sub-{number:02d}"
        folder.mkdir(parents=True)
        if number % 2:
            fsl_mat(folder / "flirt.mat", matrix, (affine, scan.data.shape), reference)
        else:
            itk_text(folder / "ants.txt", matrix)
    code, _, err = run(*command("--transforms", "other", "--reference", REFERENCE, out="two"))
    assert (code, err) == (0, "")
    for path in (here / "out/maps").glob("*.nii.gz"):
        one, two = (nib.load(folder / path.name).get_fdata() for folder in (path.parent, here / "two/maps"))
        np.testing.assert_allclose(one, two, atol=2e-5)


def test_an_unreadable_map_is_listed_only_when_asked(here, run):
    broken = here / "own/sub-04_ses-M00_desc-occlusion_heatmap.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-900])
    code, _, err = run(*command(*MORE))
    assert (code, "sub-04" in err, "--skip-unreadable" in err) == (2, True, True)
    code, _, err = run(*command(*MORE, "--skip-unreadable"))
    assert code == 0, err
    assert "1 of 12 maps cannot be read and are left out: sub-04" in err
    assert (
        (here / "out/group_excluded.tsv").read_text().splitlines()[1].startswith("sub-04\tsub-04_ses-M00")
    )
    assert len(list((here / "out/maps").glob("*.nii.gz"))) == 11


def without(folder):
    shutil.rmtree(folder / "xfm/sub-05")


def backwards(folder):
    (folder / f"xfm/sub-05/sub-05_from-T1w_to-{SPACE}_mode-image_xfm.h5").unlink()


def far(folder):
    away = np.eye(4)
    away[0, 3] = 900
    composite(folder / f"xfm/sub-05/sub-05_from-T1w_to-{SPACE}_mode-image_xfm.h5", away)


def damaged(folder):
    (folder / f"xfm/sub-05/sub-05_from-T1w_to-{SPACE}_mode-image_xfm.h5").write_bytes(b"half")


def twice(folder):
    name = f"sub-05_from-T1w_to-{SPACE}_mode-image_xfm"
    shutil.copy(folder / f"xfm/sub-05/{name}.h5", folder / f"xfm/sub-05/{name[:-4]}_desc-2_xfm.h5")


def in_common_space(folder):
    for path in (folder / "own").iterdir():
        path.rename(path.with_name(path.name.replace("_desc", f"_space-{SPACE}_desc")))


def two_ends(folder):
    shutil.copy(folder / REFERENCE, folder / "brain.nii.gz")
    for path in (folder / "xfm").rglob(f"*_to-{SPACE}_*"):
        if "sub-05" in path.name:
            path.rename(path.with_name(path.name.replace(SPACE, "MNI305")))
    for path in (folder / "xfm").rglob("*_to-T1w_*"):
        path.unlink()


BAD = {
    "no option": (lambda f: None, [], "move maps from the scans' own spaces with --transf"),
    "one option": (lambda f: None, MORE[:2], "--transforms moves maps to the voxels of --reference"),
    "other option": (lambda f: None, MORE[2:], "--transforms moves maps to the voxels of --reference"),
    "missing": (without, MORE, "sub-05_ses-M00 has no transform: no file of --transforms has sub-05"),
    "backwards": (backwards, MORE, "sub-05_from-MNI152NLin2009cAsym_to-T1w_mode-image_xfm.h5 leads to T1w"),
    "twice": (twice, MORE, "sub-05_ses-M00 has 2 transforms"),
    "damaged": (damaged, MORE, "sub-05: transform sub-05_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm"),
    "far": (far, MORE, "_xfm.h5 leaves nothing of sub-05_ses-M00_desc-occlusion_heatmap.nii.gz on the"),
    "there already": (in_common_space, MORE, f"is in {SPACE} already, like the reference; leave"),
    "nowhere": (lambda f: None, ["--transforms", "none", *MORE[2:]], "there names a subject"),
    "reference": (lambda f: None, [*MORE[:2], "--reference", "none.nii"], "none.nii: no such file"),
    "two ends": (
        two_ends, [*MORE[:2], "--reference", "brain.nii.gz"],
        "lead to different spaces, MNI152NLin2009cAsym and MNI305",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(here, run, case):
    spoil, more, words = BAD[case]
    spoil(here)
    there = sorted(path.name for path in here.iterdir())
    code, said, err = run(*command(*more))
    assert (code, said) == (2, "")
    assert words in err
    assert len([line for line in err.splitlines() if "warning" not in line]) == 1
    assert sorted(path.name for path in here.iterdir()) == there


def test_without_nitransforms_a_line_says_what_to_install(here, run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nitransforms", None)
    code, _, err = run(*command(*MORE))
    assert (code, "pip install 'pyadx[transforms]'" in err) == (2, True)
