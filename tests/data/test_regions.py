"""Region masks come from label volumes in any grid of the same space, and from nowhere else."""

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("scipy")

from pyadx.data.regions import REGIONS, find_labels, read_labels, read_mask, regions_on_scan  # noqa: E402
from pyadx.data.scans import read_scan  # noqa: E402


def save(path, data, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.MGHImage if path.name.endswith(".mgz") else nib.Nifti1Image
    nib.save(kind(data, np.diag([2.0, 2, 2, 1]) if affine is None else affine), path)
    return path


def head():
    """Labels: cortex around, ventricle and hippocampus inside."""
    labels = np.zeros((20, 22, 18), np.int32)
    labels[2:18, 2:20, 2:16] = 3
    labels[10:18, 2:20, 2:16] = 42
    labels[7:13, 8:14, 6:12] = 4
    labels[4:7, 8:14, 4:7] = 17
    return labels


@pytest.fixture
def scan(tmp_path):
    return read_scan(
        save(tmp_path / "scan.nii.gz", np.random.default_rng(0).random((20, 22, 18), np.float32))
    )


@pytest.mark.parametrize("name", ["aseg.mgz", "aseg.nii.gz"])
def test_regions_of_an_aseg_on_the_same_grid(tmp_path, scan, name):
    masks = regions_on_scan(read_labels(save(tmp_path / name, head())), scan)
    assert list(masks) == ["cortex", "ventricle", "hippocampus", "union"]
    assert np.array_equal(masks["cortex"], np.isin(head(), [3, 42]))
    assert np.array_equal(masks["union"], head() > 0)


def test_aparc_aseg_numbers_are_cortex_and_the_corpus_callosum_is_not(tmp_path, scan):
    labels = head()
    labels[labels == 3] = 1035
    labels[labels == 42] = 2000
    labels[2, 2, 2] = 1004
    masks = regions_on_scan(read_labels(save(tmp_path / "aparc+aseg.mgz", labels)), scan)
    assert masks["cortex"].sum() == np.isin(labels, [1035, 2000]).sum()
    assert not masks["cortex"][2, 2, 2]
    assert len(REGIONS["cortex"]) == 2 + 2 * 35


def test_another_grid_and_orientation_of_the_same_space_is_resampled_by_nearest_neighbour(tmp_path, scan):
    fine = head().repeat(2, 0).repeat(2, 1).repeat(2, 2)[::-1]
    affine = np.diag([-1.0, 1, 1, 1])
    affine[:3, 3] = [-0.5 + fine.shape[0] - 1, -0.5, -0.5]
    masks = regions_on_scan(
        read_labels(save(tmp_path / "fine.nii.gz", np.ascontiguousarray(fine), affine)), scan
    )
    for name, mask in masks.items():
        if name != "union":
            assert np.array_equal(mask, np.isin(head(), REGIONS[name])), name


def test_wrong_affines_empty_regions_and_broken_labels_are_told(tmp_path, scan):
    far = np.diag([2.0, 2, 2, 1])
    far[:3, 3] = 30
    with pytest.raises(ValueError, match="do not place them in the same space"):
        regions_on_scan(read_labels(save(tmp_path / "far.nii.gz", head(), far)), scan)
    other = np.where(head() == 17, 0, head())
    with pytest.raises(ValueError, match="no voxel of the region hippocampus"):
        regions_on_scan(read_labels(save(tmp_path / "part.nii.gz", other)), scan)
    with pytest.raises(ValueError, match="are its numbers FreeSurfer's"):
        regions_on_scan(
            read_labels(save(tmp_path / "own.nii.gz", (head() > 0).astype(np.int32) * 99)), scan
        )
    with pytest.raises(ValueError, match="expected a label volume"):
        read_labels(save(tmp_path / "t1.nii.gz", np.random.default_rng(0).random((4, 4, 4), np.float32)))


def test_any_mask_is_read(tmp_path, scan):
    mask = (head() == 4).astype(np.uint8)
    assert np.array_equal(read_mask(save(tmp_path / "mask.nii.gz", mask), scan), mask > 0)


def test_label_volumes_are_found_in_freesurfers_and_in_bids_layout(tmp_path):
    one = save(tmp_path / "derivatives/freesurfer/sub-1/mri/aseg.mgz", head())
    two = save(tmp_path / "derivatives/phantom/sub-2/anat/sub-2_dseg.nii.gz", head())
    three = save(tmp_path / "masks/sub-1_tumour.nii.gz", head())
    assert find_labels(tmp_path, "sub-1", "aseg") == one
    assert find_labels(tmp_path, "sub-2", "aseg") == two
    assert find_labels(tmp_path, "sub-1", "masks/{subject}_tumour.nii.gz") == three
    with pytest.raises(ValueError, match="no label volume of sub-3"):
        find_labels(tmp_path, "sub-3", "aseg")
    save(tmp_path / "derivatives/other/sub-1/mri/aseg.mgz", head())
    with pytest.raises(ValueError, match="2 label volumes"):
        find_labels(tmp_path, "sub-1", "aseg")
    for wrong in ("brain", "../{subject}.nii.gz", "/etc/{subject}"):
        with pytest.raises(ValueError, match="--regions must be"):
            find_labels(tmp_path, "sub-1", wrong)
