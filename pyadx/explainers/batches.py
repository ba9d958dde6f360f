"""Explaining a batch of scans in parts that fit into memory."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyadx.explainers.options import RunOptions
from pyadx.inference.batching import in_batches
from pyadx.inference.progress import progress_bar
from pyadx.inference.score import Target, targets_per_scan
from pyadx.inference.watch import OutputWatch

# From scans [b, C, D, H, W] and their targets to maps [b, D, H, W] and class scores [b, classes].
Explain = Callable[[Tensor, Target, OutputWatch], tuple[Tensor, Tensor]]


def over_scans(
    volume: Tensor,
    target: Target,
    explain: Explain,
    options: RunOptions,
) -> tuple[Tensor, Tensor]:
    """Explain ``[B, C, D, H, W]`` part by part; return maps ``[B, D, H, W]`` and class scores.

    Warns about suspicious outputs at the end.
    """
    scans = volume.shape[0]
    targets = targets_per_scan(target, scans)
    parts: dict[int, tuple[Tensor, Tensor]] = {}
    watch = options.watch()
    with progress_bar("scans", scans, options.progress and scans > 1) as advance:

        def run(start: int, stop: int) -> None:
            watch.next_scans()
            parts[start] = explain(volume[start:stop], targets[start:stop], watch)

        in_batches(scans, options.batch_size, volume.device, run, advance)
    watch.warn()
    maps, outputs = zip(*(parts[start] for start in sorted(parts)), strict=True)
    return torch.cat(maps), torch.cat(outputs)
