"""Volumes whose voxels are all equal: refused where they hold nothing, told where they are a result."""

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("scipy")

from pyadx.data.flatness import flat_words, refuse_flat  # noqa: E402
from pyadx.data.regions import labels_on_scan, read_labels, read_mask  # noqa: E402
from pyadx.data.scans import read_scan, read_volume  # noqa: E402

SHAPE = (8, 9, 7)


def saved(path, data):
    nib.save(nib.Nifti1Image(np.asarray(data, np.float32), np.diag([2.0, 2, 2, 1])), path)
    return path


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (0, "scan", "every voxel is 0; it holds nothing"),
        (5, "scan", "every voxel is 5; it holds nothing"),
        (0, "heatmap", "every voxel is 0; it singles out no place"),
        (0.25, "heatmap", "every voxel is 0.25; it singles out no place"),
        (0, "mask", "every voxel is 0; nothing is inside"),
        (1, "mask", None),
        (0, "label volume", "every voxel is 0; there is no region"),
        (17, "label volume", None),
    ],
)
def test_what_is_flat_depends_on_what_it_is(value, kind, words):
    values = np.full(SHAPE, value, np.float32)
    assert flat_words(values, kind) == words
    if words:
        with pytest.raises(ValueError, match=f"f.nii: {words}"):
            refuse_flat("f.nii", values, kind)
    values[0, 0, 0] += 1
    assert flat_words(values, kind) is None


def test_a_constant_scan_is_refused_and_a_constant_map_is_read(tmp_path):
    path = saved(tmp_path / "flat.nii", np.full(SHAPE, 5))
    with pytest.raises(ValueError, match="every voxel is 5; it holds nothing"):
        read_scan(path)
    assert np.array_equal(read_volume(path).data, np.full(SHAPE, 5))


def test_a_mask_of_ones_is_everything_and_one_of_zeros_nothing(tmp_path):
    scan = read_scan(saved(tmp_path / "scan.nii", np.random.default_rng(0).random(SHAPE)))
    ones = saved(tmp_path / "ones.nii", np.ones(SHAPE))
    assert read_mask(ones, scan).all()
    assert (labels_on_scan(read_labels(ones), scan) == 1).all()
    zeros = saved(tmp_path / "zeros.nii", np.zeros(SHAPE))
    with pytest.raises(ValueError, match=r"zeros\.nii: every voxel is 0; nothing is inside"):
        read_mask(zeros, scan)
    with pytest.raises(ValueError, match=r"zeros\.nii: every voxel is 0; there is no region"):
        labels_on_scan(read_labels(zeros), scan)
