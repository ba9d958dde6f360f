"""Explaining a batch of scans in parts that fit into memory."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyadx.explainers.options import RunOptions
from pyadx.inference.batching import in_batches
from pyadx.inference.progress import progress_bar
from pyadx.inference.score import Target, targets_per_scan


def over_scans(
    volume: Tensor,
    target: Target,
    explain: Callable[[Tensor, Target], tuple[Tensor, Tensor]],
    options: RunOptions,
) -> tuple[Tensor, Tensor]:
    """Explain ``[B, C, D, H, W]`` part by part; return maps ``[B, D, H, W]`` and class scores."""
    scans = volume.shape[0]
    targets = targets_per_scan(target, scans)
    parts: dict[int, tuple[Tensor, Tensor]] = {}
    with progress_bar("scans", scans, options.progress and scans > 1) as advance:

        def run(start: int, stop: int) -> None:
            parts[start] = explain(volume[start:stop], targets[start:stop])

        in_batches(scans, options.batch_size, volume.device, run, advance)
    maps, outputs = zip(*(parts[start] for start in sorted(parts)), strict=True)
    return torch.cat(maps), torch.cat(outputs)
