"""Scans of any shape, type, orientation and voxel size: what goes in comes out where it was."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("scipy")
pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from pyadx.data import fit_to_grid, map_to_scan, read_scan, write_heatmap  # noqa: E402

many = settings(max_examples=80, deadline=None, derandomize=True)

shapes = st.tuples(*[st.integers(1, 24)] * 3).filter(lambda shape: np.prod(shape) > 1)
TYPES = [np.uint8, np.int16, np.int32, np.uint16, np.float32, np.float64]


@st.composite
def affines(draw, sizes):
    """Any order and direction of axes."""
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    origin = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    matrix = np.zeros((3, 3))
    for axis in range(3):
        matrix[order[axis], axis] = signs[axis] * sizes[axis]
    return nib.affines.from_matvec(matrix, origin)


def stored(folder, shape, dtype, affine, seed):
    random = np.random.default_rng(seed)
    data = random.integers(0, 200, shape).astype(dtype)
    data.flat[0], data.flat[-1] = 1, 200  # neither empty nor constant
    path = Path(folder) / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data, affine), path)
    return path, data


@many
@given(st.data())
def test_a_scan_on_its_own_grid_comes_back_to_the_bit(data):
    shape, dtype = data.draw(shapes), data.draw(st.sampled_from(TYPES))
    affine = data.draw(affines((2.0, 2.0, 2.0)))
    with tempfile.TemporaryDirectory() as folder:
        path, voxels = stored(folder, shape, dtype, affine, data.draw(st.integers(0, 2**31)))
        scan = read_scan(path)
        assert np.array_equal(scan.data, voxels.astype(np.float32))
        # Larger than the scan on every axis, so that nothing is cropped.
        grid = data.draw(st.tuples(*[st.integers(24, 30)] * 3))
        fitted = fit_to_grid(scan, grid, data.draw(st.sampled_from([None, 2.0])))
        assert fitted.data.shape == grid
        assert fitted.kept == pytest.approx(1)
        back = map_to_scan(fitted.data, fitted)
        assert np.array_equal(back, scan.data)
        write_heatmap(Path(folder) / "heat.nii.gz", back, scan, {})
        heat = nib.load(Path(folder) / "heat.nii.gz")
        assert heat.shape == shape
        assert np.allclose(heat.affine, affine, atol=1e-4)
        assert np.array_equal(np.asarray(heat.dataobj), scan.data)


@many
@given(st.data())
def test_any_voxel_size_and_any_grid_give_finite_maps_of_the_scans_shape(data):
    shape, sizes = data.draw(shapes), data.draw(st.tuples(*[st.floats(0.5, 4)] * 3))
    affine = data.draw(affines(sizes))
    grid = data.draw(st.tuples(*[st.integers(1, 30)] * 3))
    with tempfile.TemporaryDirectory() as folder:
        path, _ = stored(folder, shape, np.float32, affine, 0)
        fitted = fit_to_grid(read_scan(path), grid, data.draw(st.floats(0.5, 4)))
    assert fitted.data.shape == grid
    assert np.isfinite(fitted.data).all()
    assert 0 <= fitted.kept <= 1 + 1e-6
    back = map_to_scan(np.ones(grid, np.float32), fitted)
    assert back.shape == shape
    assert ((back >= 0) & (back <= 1 + 1e-5)).all()
