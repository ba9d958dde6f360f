import numpy as np
import pytest

from pyadx.data.intensity import scale_intensity
from pyadx.models import Preprocessing

SCAN = np.array([0.0, 0.0, 2.0, 4.0, 8.0], dtype=np.float64)


def test_max_divides_by_the_maximum():
    scaled = scale_intensity(SCAN, "max")
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [0, 0, 0.25, 0.5, 1]


def test_zscore_is_that_of_the_mask_and_leaves_background_zero():
    scaled = scale_intensity(SCAN, "zscore")
    assert scaled[:2].tolist() == [0, 0]
    assert scaled[2:].mean() == pytest.approx(0, abs=1e-6)
    assert scaled[2:].std() == pytest.approx(1, rel=1e-6)


def test_none_keeps_values():
    assert np.array_equal(scale_intensity(SCAN, "none"), SCAN)


@pytest.mark.parametrize(
    ("data", "intensity", "words"),
    [(-SCAN, "max", "positive"), (0 * SCAN, "zscore", "equal"), ((SCAN > 0) * 3.0, "zscore", "equal")],
)
def test_scans_that_cannot_be_scaled_are_told(data, intensity, words):
    with pytest.raises(ValueError, match=words):
        scale_intensity(data, intensity)


@pytest.mark.parametrize("intensity", ["max", "zscore", "none"])
def test_a_scan_may_be_scaled_by_the_numbers_of_another(intensity):
    other = np.where(SCAN > 0, 3 * SCAN + 1, SCAN).astype(np.float32)
    found = scale_intensity(other, intensity, like=SCAN)
    low, high = {"max": (0, SCAN.max()), "none": (0, 1)}.get(
        intensity, (SCAN[SCAN != 0].mean(dtype=float), SCAN[SCAN != 0].std(dtype=float))
    )
    expected = [(value - low) / high if value else 0 for value in other.ravel().tolist()]
    assert np.allclose(found.ravel(), expected, rtol=1e-6)
    assert np.array_equal(scale_intensity(SCAN, intensity, like=SCAN), scale_intensity(SCAN, intensity))


def test_percentiles_of_all_voxels_become_0_to_1_and_the_rest_is_clipped():
    found = scale_intensity(SCAN, Preprocessing("percentiles", percentiles=(25, 75)))
    assert found.tolist() == [0, 0, 0.5, 1, 1]
    with pytest.raises(ValueError, match="percentiles 0 and 50 of the scan on the model's grid are both 0"):
        scale_intensity(SCAN * 0, Preprocessing("percentiles", percentiles=(0, 50)))


def test_fixed_takes_a_mean_and_a_deviation_also_from_the_background():
    found = scale_intensity(SCAN, Preprocessing("fixed", mean=2.0, std=4.0))
    assert found.tolist() == [-0.5, -0.5, 0, 0.5, 1.5]
