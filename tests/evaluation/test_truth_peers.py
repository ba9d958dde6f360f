"""The peers' occlusion by our engine is theirs: Captum's and MONAI's own loops, on a small network."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Plain, randomised

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmarks are not here"),
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence"),
]


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import truth_windows

    yield truth_windows
    sys.modules.pop("truth_windows", None)


def network():
    torch.manual_seed(0)
    model = randomised(Plain()).eval()
    model.head[-1].weight.data *= 0.05  # a sigmoid that can move
    model.head[-1].bias.data.zero_()
    return model, torch.rand(1, 1, 9, 11, 10)


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 4), (5, 3)])
def test_captum(windows, window, stride):
    attr = pytest.importorskip("captum.attr")
    model, volume = network()
    with torch.no_grad():
        theirs = attr.Occlusion(model).attribute(
            volume, (1, window, window, window), strides=(1, stride, stride, stride), baselines=0, target=1
        )
    own = windows.captum_occlusion(model, volume, 1, window, stride)
    assert np.abs(own).max() > 1e-3
    assert np.allclose(own, theirs[0, 0].numpy(), rtol=0, atol=2e-6 * np.abs(own).max() + 1e-6)


@pytest.mark.parametrize("mode", ["gaussian", "mean_patch", "mean_img", 0.25])
@pytest.mark.parametrize(("window", "stride"), [(4, 2), (3, 3)])
def test_monai(windows, mode, window, stride):
    visualize = pytest.importorskip("monai.visualize")
    model, volume = network()
    explain = visualize.OcclusionSensitivity(
        model, mask_size=window, mode=mode, overlap=1 - stride / window, verbose=False
    )
    theirs = explain(volume)[0][0, 1]
    with torch.no_grad():
        fall = model(volume)[0, 1].sigmoid() - torch.as_tensor(theirs)
    own = windows.monai_occlusion(model, volume, 1, window, stride, mode=mode)
    assert np.abs(own).max() > 1e-3
    assert np.allclose(own, fall.numpy(), rtol=0, atol=2e-6)


def test_windows_outside_the_brain_are_left_out_and_change_nothing_inside(windows):
    model, volume = network()
    inside = np.zeros(volume.shape[2:], bool)
    inside[2:5, 3:8, 4:9] = True
    volume[:, :, ~torch.from_numpy(inside)] = 0
    whole = windows.captum_occlusion(model, volume, 1, 4, 2, fill=0.3)
    part = windows.captum_occlusion(model, volume, 1, 4, 2, inside, fill=0.3)
    assert np.array_equal(whole[inside], part[inside])
    assert not np.array_equal(whole, part)
