"""How long do the whole exact map of a real brain and SA-3DUCM take, and how many regions do they score?

The scan is nilearn's MNI152 T1 at 2 mm on the 110^3 grid of the paper, background zero, so that
windows outside the brain change nothing. Where a map would take longer than a minute, an evenly spaced
share of its regions is scored and the time is extrapolated; the table says which share.
"""

import numpy as np
import pytest
import torch
from brain import brain_or_skip

from pyadx import SupervoxelOcclusion, models
from pyadx.explainers.coarse_to_fine import coarse_to_fine
from pyadx.explainers.windows import WindowGrid
from pyadx.inference import IncrementalScorer
from pyadx.inference.regions import Regions

# network, stride -> n, on the CPU and on a GPU: one region in n is scored
SHARES = {
    ("vggnet", 2): (1, 1),
    ("vggnet", 1): (10, 1),
    ("resnet", 2): (100, 10),
    ("resnet", 1): (1000, 50),
}


@pytest.fixture(scope="module")
def scan():
    """The brain as input of the networks, ``[1, 110, 110, 110]``."""
    return torch.from_numpy(brain_or_skip())[None]


@pytest.mark.parametrize(("network", "stride"), SHARES)
def test_whole_map(network, stride, scan, device, benchmark):
    model = models.build(network, seed=0).eval().to(device)
    scorer = IncrementalScorer(model, scan.to(device), 1)
    grid = WindowGrid((110, 110, 110), (7, 7, 7), (stride,) * 3)
    boxes = grid.boxes()
    regions = scorer.regions(boxes)
    share = SHARES[network, stride][device.type != "cpu"]
    part = regions.boxes[::share]
    sample = Regions(part, np.arange(len(part)))
    scorer.score_regions(Regions(part[:256], np.arange(len(part[:256]))))  # warms up
    benchmark.group = f"whole map, {network}, MNI152, window 7, stride {stride}, per region"
    benchmark.pedantic(lambda: scorer.score_regions(sample), rounds=1, iterations=1)
    seconds = benchmark.stats.stats.median * len(regions.boxes) / len(part)
    unchanged = int((regions.inverse < 0).sum())
    measured = "all measured" if share == 1 else f"extrapolated from one region in {share}"
    facts = {
        "windows": len(boxes),
        "windows_that_change_nothing": unchanged,
        "regions": len(regions.boxes),
        "whole_map_s": seconds,
        "note": f"{len(regions.boxes):,} regions scored for {len(boxes):,} windows ({unchanged:,} change "
        f"nothing); whole map {seconds:,.0f} s, {measured}",
    }
    benchmark.extra_info.update(name="pyadx", calls=len(part), facts=facts)


@pytest.fixture(scope="module")
def exact(scan, device):
    """VGGNet's exact map at stride 2."""
    scorer = IncrementalScorer(models.build("vggnet", seed=0).eval().to(device), scan.to(device), 1)
    grid = WindowGrid((110, 110, 110), (7, 7, 7), (2, 2, 2))
    regions = scorer.regions(grid.boxes())
    return scorer, grid, regions, regions.spread(scorer.score_regions(regions)).float()


@pytest.mark.parametrize("budget_s", [2, 8, 16])
def test_map_within_a_budget(budget_s, exact, benchmark):
    """The error of the coarse-to-fine map against the exact one, for a share of its time."""
    scorer, grid, regions, expected = exact
    benchmark.group = f"approximate map within {budget_s} s, vggnet, MNI152, window 7, stride 2"
    scores, scored = benchmark.pedantic(
        lambda: coarse_to_fine(scorer, grid, regions, float(budget_s)), rounds=1, iterations=1
    )
    error = ((scores - expected).norm() / expected.norm()).item()
    correlation = torch.corrcoef(torch.stack([scores, expected]))[0, 1].item()
    facts = {
        "scored": scored,
        "regions": len(regions.boxes),
        "relative_l2_error": error,
        "correlation": correlation,
        "note": f"{scored:,} of {len(regions.boxes):,} regions scored; against the exact map: relative L2 "
        f"error {error:.3f}, correlation {correlation:.4f}",
    }
    benchmark.extra_info.update(name="pyadx", calls=1, facts=facts)


@pytest.mark.parametrize("network", ["vggnet", "resnet", "resnet-gap", "resnet-shallow-gap"])
def test_sa3ducm(network, scan, device, timed, benchmark):
    """Includes the segmentation. Every segment is scored once, even if it belongs to several levels."""
    explain = SupervoxelOcclusion(models.build(network, seed=0).eval().to(device))
    volume = scan[None].to(device)
    group = f"SA-3DUCM, {network}, MNI152 at 110^3, whole map"
    found = timed(group, "pyadx", lambda: explain.run(volume, 1), rounds=2)
    (report,) = found.reports
    benchmark.extra_info["facts"] = {"note": f"{report.nodes:,} distinct segments scored"}
