"""Any grid, window, stride, fill and number of channels: explainers equal their references in float64."""

import numpy as np
import pytest
import torch

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import Gap, Plain, randomised
from paper_methods import Occlusion
from reference import cam as cam_reference
from reference import occlusion as reference
from torch import nn

from pyadx import CAM, GradCAM

few = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

grids = st.tuples(*[st.integers(7, 11)] * 3)
triples = st.tuples(*[st.integers(1, 12)] * 3)


def random_scan(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    scan = torch.rand(shape, generator=generator, dtype=torch.float64)
    scan[scan < 0.3] = 0  # background: windows that change nothing
    return scan


@few
@given(
    grids, st.integers(1, 2), triples, st.tuples(*[st.integers(3, 12)] * 3), st.sampled_from([0.0, 0.5]),
    st.sampled_from(["incremental", "full"]), st.integers(0, 2**31),
)  # fmt: skip
def test_occlusion_at_the_centres_of_its_windows(grid, channels, window, stride, fill, engine, seed):
    model = randomised(Plain(channels)).double().eval()
    scan = random_scan((channels, *grid), seed)
    centres = [list(range((n - 1) % s // 2, n, s)) for n, s in zip(grid, stride, strict=True)]
    expected = reference.occlusion_map(model, scan, 1, window, centres, fill)
    heat = Occlusion(model, window, stride, fill, engine)(scan, target=1)[0].double()
    at_centres = heat[centres[0]][:, centres[1]][:, :, centres[2]]
    assert torch.allclose(at_centres, expected, rtol=1e-5, atol=1e-9)


@few
@given(st.tuples(*[st.integers(3, 9)] * 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
def test_gradcam_equals_autograd_and_is_cam_up_to_the_number_of_cells(grid, scans, classes, seed):
    model = randomised(Gap(classes)).double().eval()
    volume = random_scan((scans, 1, *grid), seed)
    targets = [seed % max(2, classes)] * scans
    heat = GradCAM(model, "act", batch_size=2)(volume, target=targets)
    assert heat.shape == (scans, *grid)
    if classes > 1:
        expected = cam_reference.gradcam(model, model.act, volume, targets, "abs")
        assert torch.allclose(heat.double(), expected, rtol=1e-5, atol=1e-6 * expected.max())
    cells = grid[0] * grid[1] * grid[2]
    cam = CAM(model)(volume, target=targets)
    assert torch.allclose(heat * cells, cam, rtol=1e-4, atol=1e-5 * cam.max())


@few
@pytest.mark.filterwarnings("ignore:the model's outputs look like logarithms")
@given(
    grids, st.sampled_from(["incremental", "full"]), st.sampled_from([1, 2, 4]),
    st.sampled_from(["probabilities", "log_probabilities"]), st.sampled_from(["probability", "logit"]),
    st.floats(-12, 12), st.integers(0, 2**31),
)  # fmt: skip
def test_what_a_model_makes_of_its_logits_at_its_end_changes_no_probability(
    grid, engine, classes, kind, score, bias, seed
):
    model = randomised(Gap(classes), seed % 1000).double().eval()
    with torch.no_grad():
        model.fc.weight *= 0.1
        model.fc.bias += bias * torch.arange(1, classes + 1)
    if classes == 1:
        end = nn.Sigmoid() if kind == "probabilities" else nn.LogSigmoid()
    else:
        end = nn.Softmax(1) if kind == "probabilities" else nn.LogSoftmax(1)
    scan = random_scan((1, *grid), seed)
    own = Occlusion(nn.Sequential(model, end), 4, 3, engine=engine, score=score, outputs=kind)
    # Logits of several classes are known up to a constant of each scan.
    bare = model if classes == 1 or score == "probability" else nn.Sequential(model, nn.LogSoftmax(1))
    plain = Occlusion(bare, 4, 3, engine="full", score=score)
    found, expected = own.run(scan), plain.run(scan)
    assert torch.allclose(found.heatmap.double(), expected.heatmap.double(), rtol=1e-4, atol=1e-9)
    assert torch.equal(found.targets, expected.targets)


dtypes = st.sampled_from(["f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])


@few
@given(
    grids, dtypes, st.sampled_from(["<", ">"]), st.permutations(range(4)), st.tuples(*[st.booleans()] * 4),
    st.sampled_from([torch.float32, torch.float64]), st.booleans(), st.integers(0, 2**31),
)  # fmt: skip
def test_arrays_of_any_dtype_byte_order_and_strides_are_scans(
    grid, dtype, order, axes, flips, model_dtype, tensor, seed
):
    values = np.random.default_rng(seed).integers(0, 100, (1, *grid))
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    laid_out = np.ascontiguousarray(values[steps].transpose(axes)).transpose(np.argsort(axes))[steps]
    array = np.empty_like(laid_out, np.dtype(dtype).newbyteorder(order))
    array[...] = laid_out
    array.flags.writeable = False
    model = randomised(Gap(2)).to(model_dtype).eval()
    expected = CAM(model)(torch.from_numpy(values).to(model_dtype), target=1)
    given_ = torch.from_numpy(values.astype(np.int32)) if tensor else array
    assert torch.equal(CAM(model)(given_, target=np.int64(1)), expected)
