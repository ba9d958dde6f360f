"""Scans of any shape, type, orientation and voxel size: what goes in comes out where it was."""

import gzip
import itertools
import re
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


AFFINE = np.diag([-2.0, 2, 2, 1])


def small():
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    return nib.Nifti1Image(data, AFFINE), data


@pytest.mark.parametrize(
    "name",
    ["SCAN.NII.GZ", "Scan.Nii.gz", "SCAN.NII", "C.MGZ", "C.MGH", "sub-01_T1w.nii.GZ", "été sœur 脳.nii.gz"],
)
def test_capitals_accents_and_spaces_in_names_are_read(name, tmp_path):
    folder = tmp_path / "Ünïts of été"
    folder.mkdir()
    _, data = small()
    kind = nib.MGHImage if "C.MG" in name else nib.Nifti1Image
    plain = folder / ("plain.mgh" if kind is nib.MGHImage else "plain.nii")
    nib.save(kind(data, AFFINE), plain)
    content = plain.read_bytes()
    # Large enough to be compressed: a name in capitals must not lower the bound on what a file can hold.
    (folder / name).write_bytes(gzip.compress(content) if name.lower().endswith("z") else content)
    scan = read_scan(folder / name)
    assert np.array_equal(scan.data, data)
    assert np.allclose(scan.affine, AFFINE)


def test_a_compressed_scan_in_capitals_that_shrinks_well_is_not_called_truncated(tmp_path):
    data = np.zeros((64, 64, 64), np.int16)
    data[30:34, 30:34, 30:34] = 7
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "scan.nii.gz")
    nib.save(nib.MGHImage(data, AFFINE), tmp_path / "scan.mgz")
    for source, name in (("scan.nii.gz", "SCAN.NII.GZ"), ("scan.mgz", "C.MGZ")):
        (tmp_path / name).write_bytes((tmp_path / source).read_bytes())
        assert np.array_equal(read_scan(tmp_path / name).data, data)


@pytest.mark.parametrize(
    ("name", "kind", "packed"),
    [
        ("plain.nii.gz", nib.Nifti1Image, False),
        ("packed.nii", nib.Nifti1Image, True),
        ("plain2.nii.gz", nib.Nifti2Image, False),
        ("packed2.NII", nib.Nifti2Image, True),
        ("plain.mgz", nib.MGHImage, False),
        ("packed.mgh", nib.MGHImage, True),
    ],
)
def test_a_file_is_read_by_what_it_holds_not_by_its_name(name, kind, packed, tmp_path):
    _, data = small()
    suffix = ".mgh" if kind is nib.MGHImage else ".nii"
    nib.save(kind(data, AFFINE), tmp_path / f"source{suffix}")
    content = (tmp_path / f"source{suffix}").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    scan = read_scan(tmp_path / name)
    assert np.array_equal(scan.data, data)
    assert np.allclose(scan.affine, AFFINE)
    assert scan.image.shape == data.shape


def test_gzip_of_several_members_is_read_whole(tmp_path):
    image, data = small()
    content = image.to_bytes()
    parts = [gzip.compress(content[at : at + 100]) for at in range(0, len(content), 100)]
    for name in ("scan.nii.gz", "scan.nii"):
        (tmp_path / name).write_bytes(b"".join(parts))
        assert np.array_equal(read_scan(tmp_path / name).data, data)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Spm99AnalyzeImage, nib.AnalyzeImage])
@pytest.mark.parametrize(
    ("header", "voxels"),
    [
        ("s.hdr", "s.img"),
        ("S.HDR", "S.IMG"),
        ("S.HDR", "S.img"),
        ("s.hdr", "s.IMG"),
        ("S.Hdr", "S.Img"),
        ("S.hdr", "s.IMG"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.filterwarnings("ignore:.*Analyze without orientation")
def test_both_halves_of_a_pair_are_found_in_capitals_or_not(kind, header, voxels, packed, tmp_path):
    _, data = small()
    nib.save(kind(data, AFFINE), tmp_path / "source.img")
    where = tmp_path / "pair"
    where.mkdir()
    pack = gzip.compress if packed else bytes
    (where / header).write_bytes((tmp_path / "source.hdr").read_bytes())
    (where / voxels).write_bytes(pack((tmp_path / "source.img").read_bytes()))
    for name in (header, voxels):
        assert np.array_equal(read_scan(where / name).data, data)


def test_a_missing_half_of_a_pair_is_named(tmp_path):
    _, data = small()
    nib.save(nib.Nifti1Pair(data, AFFINE), tmp_path / "scan.img")
    (tmp_path / "scan.hdr").rename(tmp_path / "other.hdr")
    with pytest.raises(ValueError, match=r"scan\.img: its header file scan\.hdr is missing"):
        read_scan(tmp_path / "scan.img")
    with pytest.raises(ValueError, match=r"other\.hdr: its voxel file other\.img is missing"):
        read_scan(tmp_path / "other.hdr")


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_big_endian_files_are_read(kind, dtype, tmp_path):
    _, data = small()
    image_kind = nib.Nifti1Image if kind is nib.Nifti1Header else nib.Nifti2Image
    header = kind(endianness=">")
    image = image_kind(data.astype(dtype), AFFINE, header)
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "scan.nii")
    assert nib.load(tmp_path / "scan.nii").header.endianness == ">"
    scan = read_scan(tmp_path / "scan.nii")
    assert np.array_equal(scan.data, data)
    assert scan.notes == ()


def test_all_48_orientations_are_read_without_a_word_and_come_back(tmp_path):
    _, data = small()
    canonical = None
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            orientation = np.array(list(zip(order, signs, strict=True)))
            turned = nib.Nifti1Image(data, np.diag([1.0, 1.5, 3, 1])).as_reoriented(orientation)
            turned.set_sform(turned.affine, 1)
            turned.set_qform(turned.affine, 1)
            nib.save(turned, tmp_path / "scan.nii.gz")
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                scan = read_scan(tmp_path / "scan.nii.gz")
                fitted = fit_to_grid(scan, (6, 6, 6), None)
                write_heatmap(tmp_path / "heat.nii.gz", map_to_scan(fitted.data, fitted), scan, {})
                heat = read_scan(tmp_path / "heat.nii.gz")
            assert np.array_equal(heat.data, turned.get_fdata())
            assert heat.lies_on(scan)
            canonical = fitted.data if canonical is None else canonical
            assert np.array_equal(fitted.data, canonical)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 20, 22, 18),
        (3, 20, 22, 18),
        (1, 1, 20, 22, 18),
        (20, 22, 18, 7),
        (20, 22, 18, 1, 3),
        (2, 20, 22, 18, 2),
    ],
    ids=str,
)
def test_the_advice_for_more_than_one_volume_gives_a_volume(shape, tmp_path):
    image = nib.Nifti1Image(np.random.default_rng(0).random(shape, np.float32), AFFINE)
    nib.save(image, tmp_path / "scan.nii")
    with pytest.raises(ValueError, match=r"scan\.nii: ") as raised:
        read_scan(tmp_path / "scan.nii")
    expression = re.search(r"image\.(slicer|dataobj)\[[^]]*\]", str(raised.value))[0]
    taken = eval(
        expression, {"image": nib.load(tmp_path / "scan.nii")}
    )  # what the message says, as it stands
    assert taken.shape == (20, 22, 18)
    assert ("channels" in str(raised.value)) == (shape[0] < 5)
