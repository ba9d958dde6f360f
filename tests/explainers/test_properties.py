"""Any grid, window, stride, fill and number of channels: explainers equal their references in float64."""

import pytest
import torch

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import Gap, Plain, randomised
from reference import cam as cam_reference
from reference import occlusion as reference

from pyadx import CAM, GradCAM, Occlusion

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
