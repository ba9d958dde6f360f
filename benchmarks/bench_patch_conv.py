"""Is our convolution of small patches faster than the library's, and how near to the machine's peak?

Shapes are those of the networks' layers for a 7^3 window in the middle of the scan. The peer is the fastest
way in PyTorch: a batch of patches with a halo of zeros, channels-last, with oneDNN. For both, GFLOP/s count
only the products of changed cells and taps.
"""

import pytest
import torch
import torch.nn.functional as F

from pyadx.ops import patches

# cells along an edge, channels in and out
LAYERS = {
    "vggnet conv1b": (9, 8, 8),
    "vggnet conv2b": (8, 16, 16),
    "vggnet conv3b": (8, 32, 32),
    "vggnet conv3c": (10, 32, 32),
    "vggnet conv4b": (5, 64, 64),
    "resnet voxres3": (13, 64, 64),
    "resnet voxres8": (11, 128, 128),
}
BATCH = 16


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("how", ["pyadx", "conv3d, channels-last"])
def test_convolution(how, name, device, timed, benchmark):
    if device.type != "cpu":
        pytest.skip("cuda_convolutions.py compares both on CUDA")
    cells, channels, outputs = LAYERS[name]
    generator = torch.Generator().manual_seed(0)
    size = cells + 2
    changes = torch.randn(BATCH, cells, cells, cells, channels, generator=generator)
    weight = torch.randn(outputs, channels, 3, 3, 3, generator=generator)
    one = (1, 1, 1)
    boxes = torch.tensor([[0, 0, 0, cells, cells, cells]], dtype=torch.int32).repeat(BATCH, 1)
    out_boxes = torch.tensor([[0, 0, 0, size, size, size]], dtype=torch.int32).repeat(BATCH, 1)
    out = torch.empty(BATCH, size, size, size, outputs)
    packed = patches.pack_weight(weight)
    first = changes.permute(0, 4, 1, 2, 3)
    halo = F.pad(first, [2] * 6).contiguous(memory_format=torch.channels_last_3d)
    last = weight.contiguous(memory_format=torch.channels_last_3d)

    def ours():
        return patches.conv(changes, boxes, packed, one, (2, 2, 2), one, out_boxes, None, out)

    def library():
        return F.conv3d(halo, last)

    expected = library().permute(0, 2, 3, 4, 1)
    assert torch.allclose(ours(), expected, rtol=0, atol=1e-4 * expected.abs().max().item())
    call = ours if how == "pyadx" else library
    group = (
        f"convolution of {BATCH} patches, {name}: {cells}^3, {channels} to {outputs} channels, per patch"
    )
    with torch.no_grad():
        timed(group, how, call, peers=(ours, library), rounds=15, items=BATCH)
    products = 2 * 27 * cells**3 * channels * outputs * BATCH
    rate = products / benchmark.stats.stats.median / 1e9
    benchmark.extra_info["facts"] = {"gflops": rate, "note": f"{rate:.0f} GFLOP/s"}
