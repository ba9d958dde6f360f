"""Explaining a batch of scans in parts that fit into memory."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyadx.explainers.options import RunOptions
from pyadx.inference.batching import in_batches, progress_bar
from pyadx.inference.score import Target


def target_of(target: Target, start: int, stop: int, scans: int) -> Target:
    """Return the part of ``target`` that belongs to scans ``start`` to ``stop``.

    Raises
    ------
    ValueError
        If there are several targets, but not one per scan.
    """
    if target is None or isinstance(target, int | str):
        return target
    if isinstance(target, Tensor):
        target = target.reshape(-1).tolist()
    if not isinstance(target, Sequence):
        raise TypeError(f"target must be a class or one class per scan, got {type(target).__name__}")
    if len(target) == 1:
        return target[0]
    if len(target) != scans:
        raise ValueError(f"got {len(target)} targets for {scans} scans; give one, or one per scan")
    return target[start:stop]


def over_scans(
    volume: Tensor,
    target: Target,
    explain: Callable[[Tensor, Target], Tensor],
    options: RunOptions,
) -> Tensor:
    """Explain ``[B, C, D, H, W]`` part by part and put the maps together, ``[B, D, H, W]``."""
    scans = volume.shape[0]
    parts: dict[int, Tensor] = {}
    with progress_bar("scans", scans, options.progress and scans > 1) as advance:

        def run(start: int, stop: int) -> None:
            parts[start] = explain(volume[start:stop], target_of(target, start, stop, scans))

        in_batches(scans, options.batch_size, volume.device, run, advance)
    return torch.cat([parts[start] for start in sorted(parts)])
