"""Headers that say two things, or nothing, about where a scan lies: what is used, and what is told."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("scipy")
pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from pyadx.data import read_scan, write_heatmap  # noqa: E402

SHAPE = (12, 14, 10)
RAS = nib.affines.from_matvec(np.diag([2.0, 2, 2]), (-12, -14, -10))
LAS = nib.affines.from_matvec(np.diag([-2.0, 2, 2]), (10, -14, -10))


def voxels():
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


def nifti(path, sform, qform, codes=(1, 1), kind=nib.Nifti1Image, pixdim=None):
    """Write a scan whose two affines are these; ``pixdim`` goes past nibabel's checks."""
    image = kind(voxels(), None)
    image.header.set_sform(sform, codes[0])
    image.header.set_qform(qform, codes[1])
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    if pixdim is not None:
        content = bytearray(path.read_bytes())
        content[80:92] = np.array(pixdim, "<f4").tobytes()
        path.write_bytes(content)
    return path


def read_told(path, **options):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        scan = read_scan(path, **options)
    told = [one for one in told if one.category is UserWarning]
    assert [str(one.message) for one in told] == [f"{path}: {note}" for note in scan.notes]
    assert {one.filename for one in told} <= {__file__}
    return scan


def test_sform_and_qform_with_left_and_right_exchanged_are_told(tmp_path):
    path = nifti(tmp_path / "scan.nii", LAS, RAS)
    scan = read_told(path)
    assert np.allclose(scan.affine, LAS)
    assert scan.notes == (
        "its sform (code 1, scanner) and qform (code 1, scanner) disagree by up to 22.0 mm: axes L-A-S and "
        "R-A-S; the sform is used (orientation='qform' uses the other)",
    )
    turned = read_told(path, orientation="qform")
    assert np.allclose(turned.affine, RAS)
    assert turned.notes[0].endswith("the qform is used (as requested)")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_an_sform_of_half_the_voxel_size_is_told_with_both_sizes(tmp_path, kind):
    small = nib.affines.from_matvec(np.diag([1.0, 1, 1]), RAS[:3, 3])
    scan = read_told(nifti(tmp_path / "both.nii", small, RAS, kind=kind))
    assert "voxels 1 x 1 x 1 and 2 x 2 x 2 mm" in scan.notes[0]
    alone = read_told(nifti(tmp_path / "alone.nii", small, RAS, (1, 0), kind=kind))
    assert alone.notes == (
        "voxels are 1 x 1 x 1 mm by its sform (code 1, scanner) and 2 x 2 x 2 mm by its pixdim; the sform "
        "is used; correct the header if pixdim is right",
    )


def test_a_turn_and_a_shift_are_told_in_degrees_and_millimetres(tmp_path):
    angle = np.deg2rad(5)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = RAS.copy()
    turned[:3, :3] = turn @ RAS[:3, :3]
    assert "turned by 5.0 degrees" in read_told(nifti(tmp_path / "turn.nii", turned, RAS)).notes[0]
    shifted = RAS.copy()
    shifted[:3, 3] += (0, 3, 4)
    note = read_told(nifti(tmp_path / "shift.nii", RAS, shifted, (4, 1))).notes[0]
    assert (
        "sform (code 4, mni) and qform (code 1, scanner) disagree by up to 5.0 mm: centres 5.0 mm apart"
        in note
    )


def test_no_space_named_is_told_and_read_as_before(tmp_path):
    path = nifti(tmp_path / "scan.nii", RAS, RAS, (0, 0))
    scan = read_told(path)
    assert np.allclose(scan.affine, nib.load(path).affine)
    assert scan.notes == (
        "names no space (sform and qform codes are 0): read as L-A-S from the voxel size, 2 x 2 x 2 mm, "
        "centred on the origin; left and right may be exchanged",
    )
    assert np.allclose(read_told(path, orientation="sform").affine, RAS)


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_singular_sform_gives_way_to_a_sound_qform(tmp_path, broken):
    path = nifti(tmp_path / "scan.nii", broken, RAS)
    scan = read_told(path)
    assert np.allclose(scan.affine, RAS)
    assert scan.notes == (
        "its sform (code 1, scanner) is singular or broken; the qform (code 1, scanner) is used",
    )
    with pytest.raises(
        ValueError, match=r"scan\.nii: its sform .* is singular or broken, so it cannot be used"
    ):
        read_scan(path, orientation="sform")
    write_heatmap(tmp_path / "heat.nii", scan.data, scan, {})
    heat = read_told(tmp_path / "heat.nii")
    assert np.allclose(heat.affine, RAS)
    assert heat.notes == ()


def test_a_singular_affine_that_is_the_only_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="singular"):
        read_scan(nifti(tmp_path / "scan.nii", np.zeros((4, 4)), RAS, (1, 0)))


def test_a_voxel_size_of_zero_is_told(tmp_path):
    scan = read_told(nifti(tmp_path / "s.nii", RAS, RAS, (1, 0), pixdim=(0, 2, 2)))
    assert np.allclose(scan.affine, RAS)
    assert scan.notes == ("its pixdim, the voxel size, is 0 x 2 x 2 mm; the sform says 2 x 2 x 2 mm",)
    for codes in ((0, 1), (0, 0)):
        scan = read_told(nifti(tmp_path / "q.nii", RAS, RAS, codes, pixdim=(0, 2, 2)))
        assert np.allclose(np.linalg.norm(scan.affine[:3, :3], axis=0), (1, 2, 2))
        assert scan.notes[0] == "its pixdim, the voxel size, is 0 x 2 x 2 mm; taken as 1 x 2 x 2 mm"


def test_a_space_code_that_nifti_does_not_know_names_a_space_all_the_same(tmp_path):
    path = nifti(tmp_path / "scan.nii", RAS, RAS, (1, 0))
    content = bytearray(path.read_bytes())
    content[254:256] = (9).to_bytes(2, "little")
    path.write_bytes(content)
    scan = read_told(path)
    assert np.allclose(scan.affine, RAS)
    write_heatmap(tmp_path / "heat.nii", scan.data, scan, {})
    assert np.allclose(nib.load(tmp_path / "heat.nii").affine, RAS)


def test_mgh_without_orientation_means_what_freesurfer_means(tmp_path):
    path = tmp_path / "scan.mgh"
    nib.save(nib.MGHImage(voxels(), RAS), path)
    assert read_told(path).notes == ()
    content = bytearray(path.read_bytes())
    content[28:30] = b"\0\0"
    path.write_bytes(content)
    scan = read_told(path)
    assert nib.aff2axcodes(scan.affine) == ("L", "I", "A")
    assert np.allclose(scan.affine @ [6, 7, 5, 1], [0, 0, 0, 1])
    assert "goodRASFlag 0" in scan.notes[0]
    assert "read as L-I-A, 1 x 1 x 1 mm" in scan.notes[0]
    write_heatmap(tmp_path / "heat.nii", scan.data, scan, {})
    assert np.allclose(nib.load(tmp_path / "heat.nii").affine, scan.affine)


def test_analyze_without_a_matrix_is_told_and_with_one_is_not(tmp_path):
    nib.save(nib.Spm99AnalyzeImage(voxels(), LAS), tmp_path / "scan.img")
    assert read_told(tmp_path / "scan.img").notes == ()
    (tmp_path / "scan.mat").unlink()
    scan = read_told(tmp_path / "scan.img")
    assert scan.notes == (
        "is Analyze without orientation (no .mat file): read as L-A-S, 2 x 2 x 2 mm; left and right may be "
        "exchanged",
    )


def test_shear_is_told_in_degrees(tmp_path):
    sheared = RAS.copy()
    sheared[0, 1] = 2 * np.tan(np.deg2rad(3))
    nib.save(nib.Nifti1Image(voxels(), sheared), tmp_path / "scan.nii")
    scan = read_told(tmp_path / "scan.nii")
    assert np.allclose(scan.affine, sheared)
    assert any("3.0 degrees from right angles" in note for note in scan.notes)


def test_only_nifti_has_two_orientations(tmp_path):
    nib.save(nib.MGHImage(voxels(), RAS), tmp_path / "scan.mgh")
    with pytest.raises(ValueError, match=r"scan\.mgh: has no qform; only NIfTI"):
        read_scan(tmp_path / "scan.mgh", orientation="qform")
    with pytest.raises(ValueError, match="orientation must be one of auto, sform, qform, got 'best'"):
        read_scan(nifti(tmp_path / "scan.nii", RAS, RAS), orientation="best")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_affines_that_agree_up_to_rounding_are_not_told(data):
    """Any rotation, order and direction of axes, at the size of real scans: headers of 32 bits."""
    quaternion = np.array(data.draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    quaternion = np.array([1.0, 0, 0, 0]) if np.linalg.norm(quaternion) < 0.1 else quaternion
    matrix = nib.quaternions.quat2mat(quaternion / np.linalg.norm(quaternion))
    signs = np.diag(data.draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    sizes = np.diag(data.draw(st.tuples(*[st.floats(0.5, 2)] * 3)))
    affine = nib.affines.from_matvec(
        matrix @ signs @ sizes, data.draw(st.tuples(*[st.floats(-150, 150)] * 3))
    )
    image = nib.Nifti1Image(np.zeros((256, 1, 256), np.uint8), affine)
    image.dataobj[0, 0, 0] = 1
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii"
        nib.save(image, path)
        assert read_told(path).notes == ()


def test_a_heatmap_lies_where_any_program_puts_the_scan(tmp_path):
    """Programs differ in which affine they take: the heatmap has both, with their codes."""
    scan = read_scan(nifti(tmp_path / "scan.nii", LAS, RAS, (4, 1)), orientation="qform")
    write_heatmap(tmp_path / "heat.nii", scan.data, scan, {})
    header = nib.load(tmp_path / "heat.nii").header
    assert np.allclose(header.get_sform(), LAS)
    assert np.allclose(header.get_qform(), RAS)
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 1)
    heat = read_scan(tmp_path / "heat.nii")
    assert heat.lies_on(scan)
