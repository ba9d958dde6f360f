"""Any shape, dtype, stride and fill: operators equal their references, or refuse with a ValueError."""

import contextlib

import pytest
import torch

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import cam as cam_reference
from reference import occlusion as reference

from pyadx import ops

DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])

pytestmark = pytest.mark.usefixtures("poisoned_memory")

many = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def strided(draw, shape, dtype):
    """A random tensor of a shape, cut out of a larger one in some order of axes."""
    seed = draw(st.integers(0, 2**31))
    order = draw(st.permutations(range(len(shape))))
    steps = draw(st.tuples(*[st.integers(1, 2)] * len(shape)))
    starts = draw(st.tuples(*[st.integers(0, 2)] * len(shape)))
    stored = [shape[a] * steps[a] + starts[a] for a in order]
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randn(stored, generator=generator).to(dtype)
    back = [order.index(a) for a in range(len(shape))]
    view = whole.permute(back)
    for axis, (start, step) in enumerate(zip(starts, steps, strict=True)):
        view = view[(slice(None),) * axis + (slice(start, None, step),)]
    return view


@st.composite
def volumes(draw):
    shape = (draw(st.integers(1, 3)), *draw(st.tuples(*[st.integers(0, 9)] * 3)))
    volume = draw(strided(shape, draw(DTYPES)))
    fill = draw(
        st.one_of(
            st.sampled_from([0.0, -1.5]),
            st.just([float(c) for c in range(shape[0])]),
            strided(shape[1:], volume.dtype),
            strided(shape, volume.dtype),
        )
    )
    return volume, fill


numbers = st.one_of(st.integers(-4, 12), st.sampled_from([-(2**62), -(2**31), 2**31, 2**62]))


@many
@given(volumes(), st.lists(st.tuples(*[numbers] * 6), max_size=6))
def test_boxes(given_, rows):
    volume, fill = given_
    boxes = torch.tensor(rows, dtype=torch.int64).reshape(-1, 6)
    actual = ops.occlude_boxes(volume, boxes, fill)
    assert torch.equal(actual, reference.occlude_boxes(volume, boxes, fill))


@many
@given(volumes(), st.lists(st.tuples(numbers, numbers), max_size=6), st.integers(0, 2**31))
def test_labels(given_, rows, seed):
    volume, fill = given_
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-3, 9, volume.shape[1:], generator=generator, dtype=torch.int32)
    intervals = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2)
    actual = ops.occlude_labels(volume, labels, intervals, fill)
    assert torch.equal(actual, reference.occlude_labels(volume, labels, intervals, fill))


@many
@given(st.data())
def test_weighted_cam(data):
    shape = data.draw(st.tuples(st.integers(0, 2), st.integers(1, 6), *[st.integers(1, 7)] * 3), "shape")
    dtype = data.draw(DTYPES, "dtype")
    features = data.draw(strided(shape, dtype), "features")
    weights = data.draw(strided(shape[:2], torch.float64 if dtype == torch.float64 else torch.float32))
    size = data.draw(st.tuples(*[st.integers(1, 19)] * 3), "size")
    rectify = data.draw(st.sampled_from(["none", "abs", "relu"]), "rectify")
    actual = ops.weighted_cam(features, weights, size, rectify)
    expected = cam_reference.weighted_cam(features, weights, size, rectify)
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    scale = max(expected.abs().max().item() if expected.numel() else 0.0, 1.0)
    # Large sums that cancel leave the rounding of their terms.
    terms = (features.double().abs() * weights.double().abs()[..., None, None, None]).sum(1)
    scale = max(scale, terms.max().item() if terms.numel() else 0.0)
    assert (actual.double() - expected).abs().max() <= tolerance * scale if expected.numel() else True


anything = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.text(max_size=3),
    st.builds(
        lambda shape, dtype: torch.zeros(shape, dtype=dtype),
        st.lists(st.integers(0, 3), max_size=6),
        st.sampled_from(
            [torch.float32, torch.float64, torch.int32, torch.int64, torch.bool, torch.complex64]
        ),
    ),
)


@many
@given(anything, anything, anything)
def test_wrong_arguments_are_refused_or_answered_never_followed_out_of_bounds(first, second, third):
    for call in (
        lambda: ops.occlude_boxes(first, second, third),
        lambda: ops.occlude_labels(first, second, third),
        lambda: ops.weighted_cam(first, second, third),
        lambda: ops.weighted_cam(first, second, (2, 2, 2)),
    ):
        with contextlib.suppress(ValueError, TypeError):
            assert not torch.isnan(call()).any()
