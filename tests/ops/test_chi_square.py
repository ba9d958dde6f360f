import numpy as np
import pytest
import torch

from pyadx import _ucm
from pyadx.ops.segmentation import chi_square


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
@pytest.mark.parametrize("shape", [(7, 8, 6), (1, 1, 1), (17, 5, 20), (0, 3, 3)])
@pytest.mark.parametrize("radii", [(2.0, 4.0, 6.0), (1.0,)])
def test_cuda_gives_the_bits_of_the_cpu(shape, spacing, radii, device, is_emulated, poisoned_memory):
    if device.type != "cuda" and not is_emulated:
        pytest.skip("the CPU side is compared with its slow twin in tests/segmentation")
    bins = np.random.default_rng(0).integers(0, 11, shape).astype(np.uint8)
    strength, direction = chi_square(torch.from_numpy(bins).to(device), spacing, radii)
    if bins.size == 0:
        assert strength.numel() == 0
        return
    expected = _ucm.chi_square(bins, list(spacing), list(radii), 1)
    assert np.array_equal(strength.cpu().numpy(), expected[0])
    assert np.array_equal(direction.cpu().numpy(), expected[1])


def test_the_ball_that_both_sides_share():
    ball = _ucm.ball([1.0, 1.0, 2.0], [1.0, 2.0])
    steps = ball["steps"].reshape(-1, 3)
    distance = np.sqrt((steps**2 * np.array([1, 1, 4])).sum(1))
    assert (np.diff(distance) >= 0).all()
    assert ball["ends"] == [int((distance <= r).sum()) for r in (1.0, 2.0)]
    assert ball["reach"] == [2, 2, 1]
    normals = np.array(_ucm.directions())
    sides = (steps * np.array([1.0, 1.0, 2.0])) @ normals.T
    halves = ball["halves"].astype(np.uint32)
    for n in range(13):
        assert np.array_equal((halves >> n) & 1, sides[:, n] > 1e-9)
        assert np.array_equal((halves >> (16 + n)) & 1, sides[:, n] < -1e-9)


@pytest.mark.parametrize(
    ("spacing", "radii", "words"),
    [
        ([1.0] * 3, [], "radii must have one to ten values"),
        ([1.0] * 3, [float(n) for n in range(1, 12)], "radii must have one to ten values"),
        ([1.0] * 3, [2.0, 1.0], "radii must be positive and ascending"),
        ([1.0] * 3, [float("nan")], "radii must be positive and ascending"),
        ([1.0, 0.0, 1.0], [2.0], "spacing must be positive"),
        ([1.0] * 3, [1e9], "50,000 voxels or more"),
    ],
)
def test_balls_that_do_not_fit_are_refused_before_they_are_made(spacing, radii, words):
    with pytest.raises(ValueError, match=words):
        _ucm.ball(spacing, radii)


def test_wrong_bins_are_told():
    for bins in (torch.zeros(2, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, 2)):
        with pytest.raises(TypeError, match="bins must be a CUDA uint8 tensor"):
            chi_square(bins, (1.0, 1.0, 1.0), (2.0,))
