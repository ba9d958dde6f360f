"""Scans and heatmaps in every orientation: what goes in comes out where it was."""

import json

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("scipy")

from pyadx.data import fit_to_grid, map_to_scan, read_scan, write_heatmap  # noqa: E402


def rotation(degrees, axis):
    angle = np.deg2rad(degrees)
    matrix = np.eye(3)
    a, b = [i for i in range(3) if i != axis]
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def affine_of(matrix, spacing, origin=(-40.0, 30.0, -20.0)):
    return nib.affines.from_matvec(np.asarray(matrix) @ np.diag(spacing), origin)


AFFINES = {
    "RAS": affine_of(np.eye(3), (2, 2, 2)),
    "LAS": affine_of(np.diag([-1, 1, 1]), (2, 2, 2)),
    "LPI": affine_of(-np.eye(3), (2, 2, 2)),
    "PIR": affine_of([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], (2, 2, 2)),
    "anisotropic": affine_of(np.eye(3), (0.9, 1.2, 3.0)),
    "anisotropic LAS": affine_of(np.diag([-1, 1, 1]), (1.0, 1.0, 2.5)),
    "oblique": affine_of(rotation(17, 0) @ rotation(-9, 2), (2, 2, 2)),
    "oblique anisotropic SRP": affine_of(
        rotation(12, 1) @ np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]]), (1.1, 0.8, 2.2)
    ),
}
SHAPE = (23, 31, 18)


def smooth_scan(shape=SHAPE):
    """A blob with a bright off-centre spot, so that flips and shifts show."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    body = np.exp(-2 * sum(a**2 for a in axes))
    spot = np.exp(-20 * sum((a - c) ** 2 for a, c in zip(axes, (0.4, -0.3, 0.2), strict=True)))
    return (body + 2 * spot).astype(np.float32)


def saved(tmp_path, affine, data=None, kind=nib.Nifti1Image, name="scan.nii.gz"):
    path = tmp_path / name
    image = kind(smooth_scan() if data is None else data, affine)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("name", AFFINES)
def test_written_heatmap_has_shape_affine_and_orientation_of_the_scan(name, tmp_path):
    path = saved(tmp_path, AFFINES[name])
    scan = read_scan(path)
    fitted = fit_to_grid(scan, (40, 44, 36), 2.0)
    out = tmp_path / "heat.nii.gz"
    write_heatmap(out, map_to_scan(fitted.data, fitted), scan, {"method": "test"})
    original, written = nib.load(path), nib.load(out)
    assert written.shape == original.shape
    assert np.allclose(written.affine, original.affine, atol=1e-5)
    assert nib.aff2axcodes(written.affine) == nib.aff2axcodes(original.affine)
    assert written.get_data_dtype() == np.float32
    for code in ("sform_code", "qform_code"):
        assert written.header[code] == original.header[code]
    assert json.loads((tmp_path / "heat.json").read_text())["method"] == "test"


@pytest.mark.parametrize("name", ["RAS", "LAS", "LPI", "PIR", "oblique"])
@pytest.mark.parametrize("shape", [(40, 44, 36), (23, 31, 18), (18, 20, 16), (41, 17, 30)], ids=str)
def test_same_voxel_size_keeps_every_value_to_the_bit(name, shape, tmp_path):
    scan = read_scan(saved(tmp_path, AFFINES[name]))
    fitted = fit_to_grid(scan, shape, 2.0)
    assert not fitted.resampled
    assert nib.aff2axcodes(fitted.affine) == ("R", "A", "S")
    back = map_to_scan(fitted.data, fitted)
    kept = back != 0
    assert np.array_equal(back[kept], scan.data[kept])
    canonical = nib.as_closest_canonical(nib.load(scan.path)).shape
    expected = np.prod([min(a, b) for a, b in zip(canonical, shape, strict=True)])
    assert kept.sum() == expected
    assert fitted.kept == pytest.approx(float(back.sum() / scan.data.sum()), rel=1e-5)


@pytest.mark.parametrize("name", AFFINES)
def test_world_positions_survive_resampling(name, tmp_path):
    """The bright spot lies at the same millimetre in the scan, on the grid and on the way back."""
    scan = read_scan(saved(tmp_path, AFFINES[name]))
    fitted = fit_to_grid(scan, (60, 60, 60), 1.5)
    back = map_to_scan(fitted.data, fitted)

    def peak(data, affine):
        weights = np.where(data > 0.8 * data.max(), data, 0).astype(float)
        centre = [
            (weights.sum(tuple(b for b in range(3) if b != a)) * np.arange(n)).sum()
            for a, n in enumerate(data.shape)
        ]
        return nib.affines.apply_affine(affine, np.array(centre) / weights.sum())

    expected = peak(scan.data, scan.affine)
    assert np.linalg.norm(peak(fitted.data, fitted.affine) - expected) < 1.0
    assert np.linalg.norm(peak(back, scan.affine) - expected) < 1.0


def test_resampling_back_and_forth_is_close_and_zero_outside_the_grid(tmp_path):
    scan = read_scan(saved(tmp_path, AFFINES["anisotropic"]))
    fitted = fit_to_grid(scan, (60, 60, 60), 0.7)
    assert fitted.resampled
    assert np.abs(map_to_scan(fitted.data, fitted) - scan.data).max() < 0.12 * scan.data.max()
    small = fit_to_grid(scan, (8, 8, 8), 1.0)
    back = map_to_scan(np.ones((8, 8, 8), np.float32), small)
    assert set(np.unique(back)) == {0.0, 1.0}
    assert back.sum() * 0.9 * 1.2 * 3.0 == pytest.approx(8**3, rel=0.35)
    assert small.kept < 0.6


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (nib.Nifti1Image, "scan.nii"),
        (nib.Nifti1Image, "scan.nii.gz"),
        (nib.Nifti2Image, "scan.nii"),
        (nib.MGHImage, "scan.mgz"),
        (nib.MGHImage, "scan.mgh"),
        (nib.Spm99AnalyzeImage, "scan.img"),
        (nib.Nifti1Pair, "scan.hdr"),
    ],
)
def test_every_format_is_read_and_gets_its_heatmap_in_place(kind, name, tmp_path):
    path = saved(tmp_path, AFFINES["LAS"], kind=kind, name=name)
    scan = read_scan(path)
    assert np.allclose(scan.data, smooth_scan(), rtol=1e-6)
    fitted = fit_to_grid(scan, (40, 40, 40), 2.0)
    write_heatmap(tmp_path / "heat.nii", map_to_scan(fitted.data, fitted), scan, {})
    written = nib.load(tmp_path / "heat.nii")
    assert np.allclose(written.affine, nib.load(path).affine, atol=1e-4)
    assert np.allclose(written.get_fdata(), smooth_scan(), rtol=1e-6)


def test_scaled_integers_are_scaled_and_heatmaps_are_not(tmp_path):
    image = nib.Nifti1Image((smooth_scan() * 1000).astype(np.int16), AFFINES["RAS"])
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii")
    stored = np.asanyarray(nib.load(tmp_path / "scan.nii").dataobj)
    assert np.allclose(scan.data, stored)
    heat = np.linspace(-1, 1, scan.data.size, dtype=np.float32).reshape(scan.data.shape)
    write_heatmap(tmp_path / "heat.nii", heat, scan, {})
    assert np.array_equal(nib.load(tmp_path / "heat.nii").get_fdata(dtype=np.float32), heat)


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path):
    scan = read_scan(saved(tmp_path, AFFINES["RAS"], data=smooth_scan()[..., None]))
    assert scan.data.shape == scan.image.shape == SHAPE


def test_an_interrupted_write_leaves_nothing_new_and_the_old_whole(tmp_path, monkeypatch):
    scan = read_scan(saved(tmp_path, AFFINES["RAS"]))
    out = tmp_path / "heat.nii.gz"
    write_heatmap(out, scan.data, scan, {"method": "old"})
    before = out.read_bytes(), (tmp_path / "heat.json").read_bytes()
    real = nib.save

    def interrupted(image, path):
        real(image, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(nib, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_heatmap(out, scan.data * 2, scan, {"method": "new"})
    assert (out.read_bytes(), (tmp_path / "heat.json").read_bytes()) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["heat.json", "heat.nii.gz", "scan.nii.gz"]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize("name", ["RAS", "LPI", "oblique"])
@pytest.mark.parametrize("spacing", [2.0, 1.5])
def test_a_network_may_have_other_axes(axes, name, spacing, tmp_path):
    scan = read_scan(saved(tmp_path, AFFINES[name]))
    fitted = fit_to_grid(scan, (41, 43, 45), spacing, axes)
    assert nib.aff2axcodes(fitted.affine) == tuple(axes)
    # The same voxels as on a grid along right, anterior, superior, in another order.
    turned = nib.as_closest_canonical(nib.Nifti1Image(fitted.data, fitted.affine))
    plain = fit_to_grid(scan, turned.shape, spacing)
    if spacing != 2.0 or turned.shape == fitted.data.shape:
        assert np.allclose(turned.get_fdata(), plain.data, atol=1e-3 * plain.data.max())
    back, expected = map_to_scan(fitted.data, fitted), map_to_scan(plain.data, plain)
    both = (back != 0) & (expected != 0)
    assert both.sum() > 0.95 * (expected != 0).sum()
    assert np.allclose(back[both], expected[both], atol=1e-3 * plain.data.max())
