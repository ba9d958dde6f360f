"""Explaining a batch of scans in parts that fit in memory."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyadx.explainers.options import RunOptions
from pyadx.inference.batch.dependence import run_watched, runs_apart
from pyadx.inference.batching import in_batches
from pyadx.inference.model_state import Forward
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
    forward: Forward,
) -> tuple[Tensor, Tensor]:
    """Explain a batch of scans part by part.

    If the model's class scores of a scan depend on the other scans of the batch, scans are explained one at
    a time. Suspicious outputs are warned about once, at the end.

    Parameters
    ----------
    volume : Tensor
        ``[B, C, D, H, W]``.
    target : int, str, sequence, array or None
        Class to explain, for all scans or one per scan.
    explain : callable
        Explains a part of the batch.
    options : RunOptions
        Batch size, progress bar and reading of outputs.
    forward : Forward
        Runs the model.

    Returns
    -------
    maps : Tensor
        ``[B, D, H, W]``.
    outputs : Tensor
        Class scores before softmax, ``[B, classes]``.
    """
    scans = volume.shape[0]
    targets = targets_per_scan(target, scans)
    parts: dict[int, tuple[Tensor, Tensor]] = {}
    watch = options.watch()
    together = True if runs_apart(forward.model) else None

    def own(start: int, stop: int) -> tuple[Tensor, Tensor]:
        watch.next_scans()
        with forward.rows(start, stop):
            return explain(volume[start:stop], targets[start:stop], watch)

    with progress_bar("scans", scans, options.progress if scans > 1 else False) as advance:

        def run(start: int, stop: int) -> None:
            nonlocal together
            if together is None and stop - start > 1:
                with forward.rows(start, start + 1):  # run_watched may run this scan by itself
                    made, dependence = run_watched(
                        lambda: own(start, stop), forward.model, forward, volume[start]
                    )
                together = dependence is None
                if dependence is not None:
                    dependence.tell(forward.model)
                elif made is not None:
                    parts[start] = made
                    return
            size = stop - start if together else 1
            for first in range(start, stop, size):
                parts[first] = own(first, first + size)

        in_batches(scans, options.batch_size, volume.device, run, advance)
    watch.warn()
    maps, outputs = zip(*(parts[start] for start in sorted(parts)), strict=True)
    return torch.cat(maps), torch.cat(outputs)
