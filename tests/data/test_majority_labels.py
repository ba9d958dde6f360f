"""One label volume for many subjects: the label that most of them have at a voxel."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pyadx.data.majority_labels import majority_labels
from pyadx.data.scans import read_volume

nib = pytest.importorskip("nibabel")

SHAPE = (5, 4, 3)


def volume(folder, name, labels, shift=0.0):
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = shift
    path = Path(folder) / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(labels.astype(np.int16), affine), path)
    return read_volume(path)


def test_every_voxel_has_the_most_frequent_label_and_the_smaller_of_two(tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 3, 17, 300], size=(6, *SHAPE))
    volumes = [volume(tmp_path, f"s{n}", one) for n, one in enumerate(labels)]
    found = majority_labels(iter(volumes), volumes[0])
    assert found.dtype == np.int32
    ties = 0
    for place in np.ndindex(SHAPE):
        counts = Counter(labels[(slice(None), *place)].tolist())
        most = max(counts.values())
        level = sorted(label for label, count in counts.items() if count == most)
        ties += len(level) > 1
        assert found[place] == level[0]
    assert ties


def test_volumes_of_other_grids_are_brought_there(tmp_path):
    coarse = np.zeros(SHAPE)
    coarse[1:4, 1:3, 1] = 4
    grid = volume(tmp_path, "grid", np.ones(SHAPE))
    fine = np.kron(coarse, np.ones((2, 2, 2)))
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -0.5
    nib.save(nib.Nifti1Image(fine.astype(np.int16), affine), tmp_path / "fine.nii.gz")
    np.testing.assert_array_equal(majority_labels([read_volume(tmp_path / "fine.nii.gz")], grid), coarse)


def test_no_volume_and_one_that_lies_elsewhere_are_refused(tmp_path):
    grid = volume(tmp_path, "grid", np.ones(SHAPE))
    with pytest.raises(ValueError, match="there is no label volume"):
        majority_labels([], grid)
    with pytest.raises(ValueError, match=r"far\.nii\.gz"):
        majority_labels([volume(tmp_path, "far", np.ones(SHAPE), shift=500.0)], grid)
