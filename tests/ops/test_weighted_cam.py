import pytest
import torch
import torch.nn.functional as F
from reference import cam as reference

from pyadx import ops

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Batch, channels, cells; sizes of the result below. Blocks of 2048 cells and packs of 16 bytes are met
# exactly and not.
FEATURES = [(2, 5, 3, 4, 5), (1, 64, 7, 7, 7), (3, 1, 1, 1, 1), (1, 17, 16, 16, 16), (2, 33, 13, 14, 15)]
SIZE = (9, 16, 11)
# Uneven parts, packs that fit and do not, several maps, more parts than the result has room for.
SMALL = [(1, 128, 4, 4, 4), (2, 67, 3, 5, 4), (1, 9, 1, 1, 1), (3, 40, 12, 13, 11), (1, 7, 2, 2, 2)]

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def random_case(shape, dtype, device, generator):
    features = torch.randn(shape, generator=generator).to(dtype).to(device)
    weights = torch.randn(shape[:2], generator=generator).to(device)
    return features, weights.double() if dtype == torch.float64 else weights


def assert_close(actual, expected, dtype):
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    scale = expected.abs().max().item() if expected.numel() else 1.0
    assert torch.allclose(actual.double().cpu(), expected, rtol=0, atol=tolerance * max(scale, 1.0))


@pytest.mark.parametrize("rectify", ["none", "abs", "relu"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", FEATURES, ids=str)
def test_equals_reference(shape, dtype, rectify, device, generator):
    features, weights = random_case(shape, dtype, device, generator)
    expected = reference.weighted_cam(features, weights, SIZE, rectify)
    assert_close(ops.weighted_cam(features, weights, SIZE, rectify), expected, dtype)


@pytest.mark.parametrize("rectify", ["none", "abs", "relu"])
@pytest.mark.parametrize("split", ["0", "1"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SMALL, ids=str)
def test_channels_of_small_maps_may_be_shared_among_blocks(
    shape, dtype, split, rectify, device, generator, monkeypatch
):
    """On a GPU; the CPU does not ask."""
    monkeypatch.setenv("PYADX_CAM_SPLIT", split)
    features, weights = random_case(shape, dtype, device, generator)
    expected = reference.weighted_cam(features, weights, (17, 19, 23), rectify)
    found = ops.weighted_cam(features, weights, (17, 19, 23), rectify)
    assert_close(found, expected, dtype)
    assert torch.equal(ops.weighted_cam(features, weights, (17, 19, 23), rectify), found)


@pytest.mark.parametrize("size", [(110, 110, 110), (2, 3, 1), (7, 7, 7), (20, 1, 31)], ids=str)
def test_stretching_equals_interpolate(size, device, generator):
    features, weights = random_case((2, 6, 7, 5, 9), torch.float64, device, generator)
    low = torch.einsum("bkdhw,bk->bdhw", features, weights).abs()
    expected = F.interpolate(low[:, None], size=size, mode="trilinear", align_corners=False)[:, 0]
    assert_close(ops.weighted_cam(features, weights, size, "abs"), expected.cpu(), torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "layout",
    [
        lambda f: f.contiguous(memory_format=torch.channels_last_3d),
        lambda f: f.contiguous(memory_format=torch.channels_last_3d)[:, 3:],
        lambda f: f[:, ::2],
        lambda f: f[:, 1:],
        lambda f: f.transpose(2, 4),
        lambda f: f[..., 1:],
        lambda f: f[:1].expand(3, -1, -1, -1, -1),
    ],
    ids=["channels_last", "channels_last_slice", "every_second_channel", "channel_slice", "transposed",
         "cropped", "expanded"],
)  # fmt: skip
def test_any_memory_layout(layout, dtype, device, generator):
    features, _ = random_case((2, 37, 6, 7, 8), dtype, device, generator)
    features = layout(features)
    weights = torch.randn(features.shape[:2], generator=generator).to(device)
    expected = reference.weighted_cam(features, weights, SIZE, "none")
    assert_close(ops.weighted_cam(features, weights, SIZE), expected, dtype)


def test_scale_and_offset_place_cells_and_clamp_outside(device, generator):
    features, weights = random_case((1, 3, 4, 5, 6), torch.float64, device, generator)
    scale, offset = [0.125, 0.5, 1.7], [-5.6875, 0.3, -2.0]
    expected = reference.weighted_cam(features, weights, (70, 12, 9), "abs", scale, offset)
    actual = ops.weighted_cam(features, weights, (70, 12, 9), "abs", scale, offset)
    assert_close(actual, expected, torch.float64)


def test_extreme_half_values_widen_exactly(device):
    tiny, large = 2.0**-24, 65504.0
    values = torch.tensor([tiny, -3 * tiny, 2.0**-14, large, -large, 0.0, -0.0, 1.0], dtype=torch.float16)
    for dtype in (torch.float16, torch.bfloat16):
        features = values.to(dtype).reshape(1, 1, 1, 1, 8).to(device)
        out = ops.weighted_cam(features, torch.ones(1, 1, device=device), (1, 1, 8))
        assert torch.equal(out.flatten().cpu(), values.to(dtype).float())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rectify", ["none", "abs", "relu"])
def test_nan_and_infinity_are_not_hidden(dtype, rectify, device):
    features = torch.zeros(1, 2, 1, 1, 3, dtype=dtype, device=device)
    features[0, 0, 0, 0, 0] = float("nan")
    features[0, 1, 0, 0, 2] = float("inf")
    weights = torch.ones(1, 2, device=device)
    out = ops.weighted_cam(features, weights, (1, 1, 3), rectify).flatten()
    assert out[0].isnan()
    assert not out[2].isfinite()


def test_no_scans_and_no_channels(device):
    none = ops.weighted_cam(torch.ones(0, 4, 2, 2, 2, device=device), torch.ones(0, 4), (3, 3, 3))
    assert none.shape == (0, 3, 3, 3)
    zero = ops.weighted_cam(torch.ones(1, 0, 2, 2, 2, device=device), torch.ones(1, 0), (3, 3, 3))
    assert torch.equal(zero.cpu(), torch.zeros(1, 3, 3, 3))


def test_results_do_not_depend_on_the_number_of_threads(generator):
    features, weights = random_case((1, 19, 31, 33, 35), torch.float32, "cpu", generator)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = ops.weighted_cam(features, weights, (64, 64, 64))
        torch.set_num_threads(max(2, threads))
        assert torch.equal(one, ops.weighted_cam(features, weights, (64, 64, 64)))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f, w: ops.weighted_cam(f[0], w, SIZE), ValueError, "[B,K,d,h,w]"),
        (lambda f, w: ops.weighted_cam(f.int(), w, SIZE), TypeError, "int32"),
        (lambda f, w: ops.weighted_cam(f, w[:, :2], SIZE), ValueError, "weights"),
        (lambda f, w: ops.weighted_cam(f, w, (3, 3)), ValueError, "size"),
        (lambda f, w: ops.weighted_cam(f, w, (3, 3, -1)), ValueError, "size"),
        (lambda f, w: ops.weighted_cam(f, w, SIZE, "square"), ValueError, "'square'"),
        (lambda f, w: ops.weighted_cam(f, w, SIZE, scale=[1.0]), ValueError, "scale"),
        (lambda f, w: ops.weighted_cam(f[:, :, :0], w, SIZE), ValueError, "no voxels"),
    ],
)
def test_wrong_arguments_are_named(call, error, words):
    with pytest.raises(error) as raised:
        call(torch.ones(2, 3, 4, 4, 4), torch.ones(2, 3))
    assert words in str(raised.value)
