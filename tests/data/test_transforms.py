"""Maps through transforms whose answer is known, and as nitransforms itself resamples."""

import os
import warnings

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from pyadx.data.group_maps import map_file
from pyadx.data.scans import read_volume
from pyadx.data.transform_files import find_transforms, space_of, transform_of
from pyadx.data.transforms import read_transform, resample

pytest.importorskip("nitransforms")
from transform_files import composite, fsl_mat, itk_mat, itk_text

GRIDS = {
    "left": (np.array([[-2.0, 0, 0, 15], [0, 2, 0, -14], [0, 0, 3, -12], [0, 0, 0, 1]]), (15, 13, 9)),
    "right": (np.array([[1.5, 0, 0, -11], [0, 1.0, 0, -9], [0, 0, 2.5, -13], [0, 0, 0, 1]]), (14, 19, 11)),
    "oblique": (
        np.array([[1.4, 0.2, 0.1, -10], [-0.2, 1.6, 0.1, -12], [0.1, -0.2, 1.9, -11], [0, 0, 0, 1]]),
        (16, 15, 12),
    ),
}
TURN = np.array([[0.96, -0.25, 0.05, 2.5], [0.23, 0.95, 0.1, -1.7], [-0.08, -0.1, 1.1, 3.1], [0, 0, 0, 1]])


@pytest.fixture
def volume(tmp_path):
    def make(grid, name, seed=0):
        affine, shape = GRIDS[grid]
        values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        nib.save(nib.Nifti1Image(values, affine), tmp_path / name)
        return read_volume(tmp_path / name)

    return make


def by_hand(scan, matrix, reference):
    """The image at every voxel of the reference, by SciPy: voxel to world, transform, world to voxel."""
    whole = np.linalg.inv(scan.affine) @ matrix @ reference.affine
    return ndimage.affine_transform(
        scan.data.astype(np.float64), whole[:3, :3], whole[:3, 3], reference.data.shape, order=1,
        mode="grid-constant",
    )  # fmt: skip


def written(tmp_path, kind, matrix, moving, reference):
    path = tmp_path / {"text": "a.txt", "tfm": "a.tfm", "mat": "a.mat", "h5": "a.h5", "fsl": "f.mat"}[kind]
    if kind in ("text", "tfm"):
        itk_text(path, matrix, (4, -3, 2))
    elif kind == "mat":
        itk_mat(path, matrix, (4, -3, 2))
    elif kind == "h5":
        composite(path, matrix)
    else:
        fsl_mat(path, matrix, *((one.affine, one.data.shape) for one in (moving, reference)))
    return path


@pytest.mark.parametrize("kind", ["text", "tfm", "mat", "h5", "fsl"])
@pytest.mark.parametrize(
    ("source", "target"), [("left", "right"), ("right", "left"), ("oblique", "left"), ("left", "oblique")]
)
def test_an_affine_gives_what_scipy_gives_by_hand(tmp_path, volume, kind, source, target):
    moving, reference = volume(source, "m.nii"), volume(target, "r.nii", 1)
    chain = read_transform(written(tmp_path, kind, TURN, moving, reference), moving, reference)
    found = resample(moving, chain, reference)
    assert (found.shape, found.dtype) == (reference.data.shape, np.float32)
    np.testing.assert_allclose(found, by_hand(moving, TURN, reference), atol=2e-5)
    assert np.abs(found).max() > 0.5


@pytest.mark.parametrize("kind", ["text", "mat", "h5", "fsl"])
def test_a_translation_of_whole_voxels_is_a_shift(tmp_path, volume, kind):
    moving = reference = volume("left", "m.nii")
    shift = np.eye(4)
    shift[:3, 3] = [-4, 6, 3]  # of places: two voxels along i (which runs to the left), three along j
    chain = read_transform(written(tmp_path, kind, shift, moving, reference), moving, reference)
    found = resample(moving, chain, reference)
    expected = np.zeros_like(moving.data)
    expected[:-2, :-3, :-1] = moving.data[2:, 3:, 1:]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_same_grid_and_no_movement_give_the_same_bytes(tmp_path, volume):
    for grid in GRIDS:
        one = volume(grid, "m.nii")
        found = resample(one, read_transform(written(tmp_path, "h5", np.eye(4), one, one), one, one), one)
        np.testing.assert_allclose(found, one.data, atol=1e-6)  # the last voxels of every axis, too


def field_on(affine, shape, wave=1.5):
    """A smooth field of displacements (mm, RAS+), different along each axis."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    places = voxels @ affine[:3, :3].T + affine[:3, 3]
    turned = places[..., [1, 2, 0]] / [9.0, 7, 11]
    return wave * np.sin(turned) * [1.0, 0.7, 1.3] + [0.5, -0.3, 0.2]


def test_a_field_moves_places_before_the_affine_does(tmp_path, volume):
    """As ITK's composite: the last one written applies to the reference first."""
    moving, reference = volume("oblique", "m.nii"), volume("left", "r.nii", 1)
    moves = field_on(*GRIDS["left"])
    composite(tmp_path / "x.h5", TURN, (moves, reference.affine))
    chain = read_transform(tmp_path / "x.h5", moving, reference)
    found = resample(moving, chain, reference)
    voxels = np.stack(np.meshgrid(*map(np.arange, reference.data.shape), indexing="ij"), -1)
    places = voxels @ reference.affine[:3, :3].T + reference.affine[:3, 3] + moves
    places = places @ TURN[:3, :3].T + TURN[:3, 3]
    at = (places - moving.affine[:3, 3]) @ np.linalg.inv(moving.affine[:3, :3]).T
    data = moving.data.astype(float)
    slow = ndimage.map_coordinates(data, np.moveaxis(at, -1, 0), order=1, mode="grid-constant")
    np.testing.assert_allclose(found, slow, atol=1e-4)
    turned = by_hand(moving, TURN, reference)
    assert np.abs(found - turned).max() > 0.1  # the field does something


def test_other_grids_than_the_fields_are_as_nitransforms_resamples(tmp_path, volume):
    from nitransforms import TransformChain, apply

    moving, reference = volume("right", "m.nii"), volume("oblique", "r.nii", 1)
    affine = np.array([[2.0, 0, 0, -40], [0, 2.5, 0, -41], [0, 0, 3, -39], [0, 0, 0, 1]])
    composite(tmp_path / "x.h5", TURN, (field_on(affine, (40, 33, 27)), affine))
    found = resample(moving, read_transform(tmp_path / "x.h5", moving, reference), reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = TransformChain.from_filename(tmp_path / "x.h5", fmt="itk")
        slow = apply(
            chain, moving.image, reference=nib.Nifti1Image(reference.data, reference.affine), order=1,
            mode="grid-constant",
        )  # fmt: skip
    np.testing.assert_allclose(found, slow.get_fdata(), atol=1e-4)
    assert np.abs(found).max() > 0.5


def test_nothing_moves_beyond_the_field(tmp_path, volume):
    """Also where its voxels are those of the reference, which has more of them."""
    moving = reference = volume("left", "m.nii")
    affine, shape = GRIDS["left"]
    part = affine.copy()
    part[:3, 3] += affine[:3, :3] @ [4, 3, 2]
    moves = np.broadcast_to([0.0, 4, 0], (6, 5, 4, 3))  # two voxels along j
    composite(tmp_path / "x.h5", (moves, part))
    found = resample(moving, read_transform(tmp_path / "x.h5", moving, reference), reference)
    expected = moving.data.copy()
    expected[4:10, 3:8, 2:6] = moving.data[4:10, 5:10, 2:6]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert shape == found.shape


def broken_h5(path, how):
    import h5py

    composite(path, TURN, (field_on(*GRIDS["left"]), GRIDS["left"][0]))
    if how == "cut":
        path.write_bytes(path.read_bytes()[:4000])
        return
    with h5py.File(path, "r+") as file:
        group = file["TransformGroup"]
        if how == "kind":
            group["1/TransformType"][0] = b"Euler3DTransform_double_3_3"
        elif how == "size":
            del group["2/TransformParameters"]
            group["2/TransformParameters"] = np.zeros(30)
        elif how == "claim":
            del group["2/TransformParameters"]
            group["2"].create_dataset("TransformParameters", (3, 1 << 40), "f8", chunks=(1, 1024))
        elif how == "link":
            del group["1/TransformParameters"]
            group["1/TransformParameters"] = h5py.ExternalLink("other.h5", "/secret")
        elif how == "outside":
            del group["1/TransformParameters"]
            group["1"].create_dataset("TransformParameters", (12,), "f8", external=[("raw.bin", 0, 96)])
        elif how == "single":
            del group["2"], group["1"]
        elif how == "nothing":
            del file["TransformGroup"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "cannot be read as a transform"),
        ("kind", "holds a Euler3DTransform_double_3_3, which nitransforms does not read; write it as an"),
        ("size", "has another size than declared"),
        ("claim", "declares more numbers than the file can hold"),
        ("link", "names other files, which are not read"),
        ("outside", "names other files, which are not read"),
        ("single", "holds no composite of one to nine transforms"),
        ("nothing", "holds no ITK transform"),
    ],
)
def test_a_composite_that_is_damaged_or_a_trap_is_refused(tmp_path, volume, how, words):
    (tmp_path / "raw.bin").write_bytes(bytes(96))
    one = volume("left", "m.nii")
    broken_h5(tmp_path / "x.h5", how)
    with pytest.raises(ValueError, match=r"x\.h5: ") as error:
        read_transform(tmp_path / "x.h5", one, one)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def euler(path):
    itk_text(path, TURN, kind="Euler3DTransform_double_3_3")


def two(path):
    itk_text(path, TURN)
    path.write_text(path.read_text() + path.read_text().split("\n", 1)[1])


def singular(path):
    itk_text(path, np.diag([1.0, 0, 1, 1]))


def not_finite(path):
    path.write_text("1 0 0 nan\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")


def pickled(path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(path.parent / "sprung"),))

    path.write_bytes(pickle.dumps(Trap()))


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (euler, "x.txt", "is a Euler3DTransform_double_3_3, which nitransforms does not read"),
        (two, "x.txt", "holds 2 transforms, expected one"),
        (singular, "x.txt", "its affine is singular"),
        (not_finite, "x.mat", "its affine holds NaN or infinity"),
        (lambda p: itk_mat(p, TURN, kind="Euler3DTransform_double_3_3"), "x.mat", "but not an affine"),
        (lambda p: p.write_text("read me"), "x.txt", "is neither an ITK transform nor the four rows of"),
        (lambda p: p.write_bytes(b"\0" * 40), "x.mat", "cannot be read as a transform"),
        (lambda p: p.write_bytes(b"\0" * 70000), "x.mat", "is too large for an affine transform"),
        (lambda p: p.write_bytes(b""), "x.mat", "cannot be read as a transform"),
        (pickled, "x.mat", "x.mat: "),
    ],
)  # fmt: skip
def test_what_is_no_affine_is_refused(tmp_path, volume, make, name, words):
    one = volume("left", "m.nii")
    make(tmp_path / name)
    with pytest.raises(ValueError, match=r"x\.(txt|mat): ") as error:
        read_transform(tmp_path / name, one, one)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"#Insight Transform File V1.0" if name.endswith(".txt") else b"")


def chosen(folder, name="sub-01_desc-cam_heatmap.nii.gz", space="MNI152NLin2009cAsym", where=None):
    one = map_file(folder / name)
    return transform_of(one, find_transforms(where or str(folder)), space).path.name


FMRIPREP = [
    f"sub-{n}/anat/sub-{n}_from-{a}_to-{b}_mode-image_xfm.{kind}"
    for n in ("01", "02")
    for a, b, kind in (
        ("T1w", "MNI152NLin2009cAsym", "h5"), ("MNI152NLin2009cAsym", "T1w", "h5"), ("orig", "T1w", "txt"),
        ("T1w", "MNI152NLin6Asym", "h5"), ("T1w", "fsnative", "txt"), ("fsnative", "T1w", "txt"),
    )
]  # fmt: skip


def test_of_a_folder_of_fmriprep_the_one_to_the_references_space_is_taken(tmp_path):
    touch(tmp_path, *FMRIPREP)
    assert chosen(tmp_path) == "sub-01_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5"
    assert (
        chosen(tmp_path, space="MNI152NLin6Asym") == "sub-01_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5"
    )
    named = "sub-02_space-T1w_desc-cam_heatmap.nii.gz"
    assert chosen(tmp_path, named) == "sub-02_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5"
    with pytest.raises(ValueError, match=r"sub-01 has 2 transforms, .*; give --transforms a pattern"):
        chosen(tmp_path, space="")
    pattern = str(tmp_path / "sub-*/anat/*to-MNI152NLin6Asym_*")
    assert "NLin6Asym" in chosen(tmp_path, space="", where=pattern)
    with pytest.raises(
        ValueError, match="leads to MNI152NLin6Asym, and the reference is in MNI152NLin2009"
    ):
        chosen(tmp_path, where=pattern)
    with pytest.raises(ValueError, match="sub-03 has no transform: no file of --transforms has sub-03"):
        chosen(tmp_path, "sub-03_desc-cam_heatmap.nii.gz")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "from-MNI152NLin2009cAsym_to-T1w_mode-image",
            "leads to T1w, the map's own space; the inverse",
        ),
        (
            "from-T1w_to-MNI152NLin2009cAsym_mode-points",
            "is for points .mode-points.; images need mode-image",
        ),
        (
            "from-MNI152Lin_to-MNI152NLin2009cAsym_mode-image",
            "starts in MNI152Lin, but the map names",
        ),
    ],
)
def test_a_transform_of_another_direction_or_kind_is_refused(tmp_path, name, words):
    touch(tmp_path, f"sub-01_{name}_xfm.h5")
    with pytest.raises(ValueError, match=words):
        chosen(tmp_path)


def test_a_map_of_a_named_space_needs_the_transform_from_there(tmp_path):
    touch(tmp_path, "sub-01_from-T1w_to-MNI_mode-image_xfm.h5")
    with pytest.raises(ValueError, match="starts in T1w, and the map is in orig"):
        chosen(tmp_path, "sub-01_space-orig_desc-cam_heatmap.nii.gz", "MNI")


def test_sessions_have_their_own_transforms_or_share_one(tmp_path):
    touch(tmp_path, "sub-01/ses-M00/flirt.mat", "sub-01/ses-M12/flirt.mat", "sub-02/xfm.mat", "notes.txt")
    m12 = transform_of(map_file(tmp_path / "sub-01_ses-M12_x.nii"), find_transforms(str(tmp_path)), "")
    assert m12.path == (tmp_path / "sub-01/ses-M12/flirt.mat").absolute()
    assert chosen(tmp_path, "sub-02_ses-M12_x.nii") == "xfm.mat"
    with pytest.raises(
        ValueError, match="sub-01_ses-M24 has no transform: those of sub-01 are for ses-M00, s"
    ):
        chosen(tmp_path, "sub-01_ses-M24_x.nii")
    with pytest.raises(ValueError, match="sub-01 has 2 transforms"):
        chosen(tmp_path, "sub-01_x.nii")


def test_folders_and_patterns_without_transforms_are_refused(tmp_path):
    touch(tmp_path, "xfm.h5", "sub-01_warp.nii.gz")
    (tmp_path / "sub-01.txt").write_text("notes")
    for where in (tmp_path, tmp_path / "none", tmp_path / "*.h5"):
        with pytest.raises(ValueError, match="there names a subject"):
            find_transforms(str(where))
    with pytest.raises(
        ValueError, match=r"sub-01_warp.nii.gz is not a .h5, .mat, .txt, .tfm; supported are ITK's"
    ):
        find_transforms(str(tmp_path / "sub-*"))


def test_an_affine_whose_warp_lies_beside_it_is_told_of(tmp_path):
    touch(tmp_path, "sub-01_0GenericAffine.mat", "sub-01_1Warp.nii.gz")
    with pytest.warns(
        UserWarning, match="is only the affine part; sub-01_1Warp.nii.gz beside it is not read"
    ):
        assert chosen(tmp_path) == "sub-01_0GenericAffine.mat"


def test_a_reference_names_its_space(tmp_path):
    template = tmp_path / "tpl-MNI152NLin2009cAsym_res-02_desc-brain_T1w.nii.gz"
    assert space_of(template) == {"space": "MNI152NLin2009cAsym", "res": "02"}
    assert space_of(tmp_path / "sub-01_space-MNI_T1w.nii.gz") == {"space": "MNI"}
    assert space_of(tmp_path / "template_res-2.nii.gz") == {}
