"""Is a single pass faster than a channel sum followed by ``torch.nn.functional.interpolate``?

Floor: every feature read once, every voxel of the map written once. On a GPU the channels of small maps are
divided among blocks; "channels together" does without this.
"""

import os
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pyadx import ops

SIZE = (110, 110, 110)
# The layers that the paper explains, and two between them: batch, channels, cells along each axis.
CASES = {
    "resnet bn4, 64x55^3, batch 1": (1, 64, 55),
    "resnet bn4, 64x55^3, batch 4": (4, 64, 55),
    "resnet bn4, 64x55^3, batch 8": (8, 64, 55),
    "vggnet conv2b, 16x49^3, batch 1": (1, 16, 49),
    "resnet relu7, 64x28^3, batch 1": (1, 64, 28),
    "resnet voxres9_out, 128x14^3, batch 1": (1, 128, 14),
    "vggnet conv4c, 64x3^3, batch 1": (1, 64, 3),
}


def upsampled(low):
    return F.interpolate(low.abs()[:, None], size=SIZE, mode="trilinear", align_corners=False)[:, 0]


def unsplit(features, weights):
    os.environ["PYADX_CAM_SPLIT"] = "0"
    try:
        return ops.weighted_cam(features, weights, SIZE, "abs")
    finally:
        del os.environ["PYADX_CAM_SPLIT"]


SPELLINGS = {
    "pyadx": lambda f, w: ops.weighted_cam(f, w, SIZE, "abs"),
    "pyadx, channels together": unsplit,
    "mul + sum + interpolate": lambda f, w: upsampled((f * w[:, :, None, None, None]).sum(1)),
    "einsum + interpolate": lambda f, w: upsampled(torch.einsum("bkdhw,bk->bdhw", f, w)),
    "bmm + interpolate": lambda f, w: upsampled(
        torch.bmm(w[:, None], f.flatten(2)).unflatten(2, f.shape[2:])[:, 0]
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@pytest.mark.parametrize("case", CASES)
def test_weighted_cam(case, layout, name, device, timed):
    if name == "pyadx, channels together" and (device.type == "cpu" or layout == "channels-last"):
        pytest.skip("channels are always together there")
    batch, channels, cells = CASES[case]
    torch.manual_seed(0)
    features = torch.randn(batch, channels, cells, cells, cells, device=device)
    if layout == "channels-last":
        features = features.contiguous(memory_format=torch.channels_last_3d)
    weights = torch.randn(batch, channels, device=device)
    calls = {key: partial(spelling, features, weights) for key, spelling in SPELLINGS.items()}
    out = timed(f"weighted_cam {case}, {layout}", name, calls[name], peers=calls.values())
    expected = calls["mul + sum + interpolate"]()
    assert torch.allclose(out, expected, rtol=1e-4, atol=1e-4 * expected.max().item())
