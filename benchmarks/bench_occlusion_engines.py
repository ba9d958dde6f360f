"""How much faster per window is exact occlusion than the full forwards of MONAI, of Captum and our fastest?

Every call scores windows of 7^3 voxels (or of the size that the group gives) at random places inside the
brain of nilearn's MNI152 T1 on the paper's 110^3 grid. Times are per window. Windows at random places of
the whole grid would be cut by its border and be cheaper: for VGGNet by a third.

"Full forward" is our own reference engine, the fastest full forward that we can make here: channels-last, a
reused batch, no autograd, the best of three batch sizes. MONAI scores a row of windows along an edge of the
scan (by its bounding box), and Captum the first windows from a corner, without overlap: their whole maps
would take too long.
"""

import pytest
import torch
from brain import brain_or_skip

from pyadx import models
from pyadx.inference import FullScorer, IncrementalScorer

# Windows that each call scores, and rounds.
LOAD = {
    "vggnet": {"incremental": (512, 9), "full": (8, 5), "peer": 8},
    "resnet": {"incremental": (48, 5), "full": (2, 3), "peer": 2},
}


def setting(network, device):
    model = models.build(network, seed=0).eval().to(device)
    return model, torch.from_numpy(brain_or_skip())[None].to(device)


def windows(count, window):
    """Windows whose centres are random voxels of the brain, int64 ``[count, 6]``."""
    generator = torch.Generator().manual_seed(1)
    inside = torch.from_numpy(brain_or_skip()).nonzero()
    low = inside[torch.randint(0, len(inside), (count,), generator=generator)] - window // 2
    return torch.cat([low, low + window], 1)


def group_of(network, window=7):
    return f"exact occlusion, {network}, MNI152 at 110^3, window {window}, per window inside the brain"


@pytest.mark.parametrize("slots", ["auto", "exact"])
@pytest.mark.parametrize("network", LOAD)
def test_incremental(network, slots, device, timed, monkeypatch):
    """On CUDA, slots have few sizes; exact slots are measured for comparison."""
    if slots == "exact" and device.type != "cuda":
        pytest.skip("a CPU has exact slots anyway")
    monkeypatch.setenv("PYADX_SLOTS", slots)
    model, scan = setting(network, device)
    count, rounds = LOAD[network]["incremental"]
    scorer, boxes = IncrementalScorer(model, scan, 1), windows(count, 7)
    name = "pyadx" if slots == "auto" else "pyadx, exact slots"
    scores = timed(group_of(network), name, lambda: scorer.score(boxes), rounds=rounds, items=count)
    # With random weights, the largest change is only about a hundred times the rounding of a full forward.
    expected = FullScorer(model, scan, 1).score(boxes[:4])
    assert torch.allclose(scores[:4], expected, rtol=0, atol=0.02 * scores.max().item())


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("network", LOAD)
def test_full_forward(network, batch, device, timed):
    model, scan = setting(network, device)
    count, rounds = LOAD[network]["full"]
    scorer, boxes = FullScorer(model, scan, 1, batch_size=batch), windows(max(count, batch), 7)
    name = f"full forward, channels-last, batch {batch}"
    timed(group_of(network), name, lambda: scorer.score(boxes), rounds=rounds, items=len(boxes))


@pytest.mark.parametrize(("network", "batch"), [("vggnet", 1), ("vggnet", 4), ("resnet", 1)])
def test_monai(network, batch, device, timed):
    """The sliding windows of one row; MONAI's batch counts windows."""
    visualize = pytest.importorskip("monai.visualize")
    model, scan = setting(network, device)
    count = LOAD[network]["peer"] // 2
    explain = visualize.OcclusionSensitivity(
        nn_module=model, mask_size=7, n_batch=batch, mode=0.0, overlap=0.0, verbose=False
    )
    forwards = []
    hook = model.register_forward_hook(lambda module, args, out: forwards.append(len(args[0])))
    row = [0, 6, 0, 6, 0, 7 * count - 1]  # a box of whole windows along the last axis
    with torch.no_grad():
        explain(scan[None], b_box=row)
        found = sum(forwards)
        hook.remove()
        timed(
            group_of(network),
            f"MONAI OcclusionSensitivity, batch {batch}",
            lambda: explain(scan[None], b_box=row),
            rounds=3 if network == "vggnet" else 2,
            items=found,
        )


class EnoughError(Exception):
    """Stops Captum's loop over all windows after a few."""


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("network", LOAD)
def test_captum(network, batch, device, timed):
    """Captum loops over the whole scan; it is stopped after one forward of the scan and a few windows."""
    attr = pytest.importorskip("captum.attr")
    model, scan = setting(network, device)
    count = max(LOAD[network]["peer"], batch)
    left = [0]

    def forward(volume):
        if left[0] <= 0:
            raise EnoughError
        left[0] -= len(volume)
        return model(volume)

    explain = attr.Occlusion(forward)

    def call():
        left[0] = count + 1  # and one forward of the scan itself
        with torch.no_grad(), pytest.raises(EnoughError):
            explain.attribute(
                scan[None], (1, 7, 7, 7), strides=(1, 7, 7, 7), target=1, perturbations_per_eval=batch
            )

    name = f"Captum Occlusion, batch {batch}"
    timed(group_of(network), name, call, rounds=3, items=count + 1)


@pytest.mark.parametrize("window", [3, 15, 25])
@pytest.mark.parametrize("network", LOAD)
@pytest.mark.parametrize("engine", ["pyadx", "full forward, channels-last, batch 2"])
def test_other_windows(engine, network, window, device, timed):
    model, scan = setting(network, device)
    own = engine == "pyadx"
    count = LOAD[network]["incremental" if own else "full"][0]
    count = count // 2 if own else count
    kind = IncrementalScorer if own else FullScorer
    scorer, boxes = kind(model, scan, 1, batch_size="auto" if own else 2), windows(count, window)
    timed(group_of(network, window), engine, lambda: scorer.score(boxes), rounds=3, items=count)
