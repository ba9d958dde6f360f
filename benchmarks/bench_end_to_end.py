"""How long does SA-3DUCM take per scan, and what time and error has a window at each precision?

Whole occlusion maps are in bench_whole_map.py. Networks have random weights; the scan is the MNI152 brain.
"""

import pytest
import torch
from brain import brain_or_skip

from pyadx import SupervoxelOcclusion, models
from pyadx.inference import IncrementalScorer

NETWORKS = ("vggnet", "resnet")


def case(network, device):
    volume = torch.from_numpy(brain_or_skip())[None]
    return models.build(network, seed=0).eval().to(device), volume.to(device)


@pytest.mark.parametrize("network", NETWORKS)
def test_sa3ducm(network, device, timed, benchmark):
    model, volume = case(network, device)
    explain = SupervoxelOcclusion(model, spacing=2.0)
    timed(f"SA-3DUCM, {network}, MNI152, 110^3", "pyadx", lambda: explain(volume[None], 1), rounds=2)
    (report,) = explain.run(volume[None], 1).reports
    note = f"{report.pairs:,} segments, {report.nodes:,} distinct, {report.full} by full forwards"
    benchmark.extra_info["facts"] = {"note": f"{note}, segmentation included"}


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_precision(network, precision, device, timed, benchmark):
    """The error is the largest difference of a window's score from float64, over the largest score."""
    if precision == "tf32" and device.type != "cuda":
        pytest.skip("TF32 is for CUDA")
    model, volume = case(network, device)
    generator = torch.Generator().manual_seed(0)
    low = torch.randint(30, 75, (512 if network == "vggnet" else 64, 3), generator=generator)
    boxes = torch.cat([low, low + 7], 1)
    scorer = IncrementalScorer(model, volume, 1, precision=precision)
    name = "pyadx" if precision == "float32" else f"precision={precision}"
    group = f"windows of 7^3 inside the brain, {network}, per window"
    found = timed(group, name, lambda: scorer.score(boxes), rounds=5, items=len(boxes))
    exact = IncrementalScorer(model.double(), volume.double(), 1).score(boxes)
    error = ((found.double() - exact).abs().max() / exact.max()).item()
    benchmark.extra_info["facts"] = {
        "error": error,
        "note": f"largest error {error:.1e} of the largest score",
    }
