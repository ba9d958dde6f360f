"""Everything that determines the scores of a run, to check that a resumed run is the same run."""

import hashlib
from typing import Any

import torch
from torch import Tensor

from pyadx.inference.region_fill import Filling, RegionFill
from pyadx.inference.regions import Regions
from pyadx.inference.scorer import CHUNK, Scorer
from pyadx.ops.patches import instruction_set


def scoring_facts(scorer: Scorer, regions: Regions) -> dict[str, Any]:
    """Return hashes of model, scan and regions, and the versions that scores depend on.

    Parameters
    ----------
    scorer : Scorer
        Gives the model, the scan and the options.
    regions : Regions
        The regions to score.

    Returns
    -------
    dict
        Values that JSON can hold.
    """
    weights = hashlib.sha256()
    for name, value in scorer.model.state_dict().items():
        weights.update(name.encode())
        if isinstance(value, Tensor):
            weights.update(_digest(value))
    # Left out for logits, the default: stores of earlier versions lack this entry and can still be resumed.
    outputs: dict[str, Any] = {} if scorer.output_kind == "logits" else {"outputs": scorer.output_kind}
    outputs |= scorer.adapted_facts
    return {
        **outputs,
        "model": weights.hexdigest()[:16],
        "scan": _digest(scorer.volume).hex()[:16],
        "fill": _fill_digest(scorer.fill).hex()[:16],
        "regions": _regions_digest(regions),
        "chunk": CHUNK,
        "target": scorer.target,
        "score": scorer.score_kind,
        "signed": scorer.signed,
        "device": scorer.volume.device.type,
        "torch": torch.__version__,
        "kernels": instruction_set(),
    }


def _fill_digest(fill: Filling) -> bytes:
    return fill.digest() if isinstance(fill, RegionFill) else _digest(fill)


def _regions_digest(regions: Regions) -> str:
    digest = hashlib.sha256(regions.boxes.tobytes())
    if regions.segments is not None:
        digest.update(_digest(regions.segments.labels) + regions.segments.intervals.tobytes())
    return digest.hexdigest()[:16]


def _digest(tensor: Tensor) -> bytes:
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + data.tobytes()).digest()
