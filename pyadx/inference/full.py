"""The reference scorer: one full forward pass per region."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyadx import ops
from pyadx.inference.batch.dependence import run_watched, runs_apart
from pyadx.inference.batching import in_batches
from pyadx.inference.chunks import Wait
from pyadx.inference.outputs import check_outputs
from pyadx.inference.region_fill import Filling, RegionFill, fill_region
from pyadx.inference.regions import Regions
from pyadx.inference.scorer import Scorer


class FullScorer(Scorer):
    """Scores regions of one scan by running the whole model on each occluded copy.

    Parameters, attributes and errors are those of `pyadx.inference.scorer.Scorer`.
    """

    _buffer: Tensor | None = None

    def _launch_chunk(self, regions: Regions, advance: Callable[[int], None]) -> Wait:
        changes = self._outputs.new_empty(len(regions.boxes))

        def own(start: int, stop: int) -> Tensor:
            scans = filled(self.volume, regions, self.fill, start, self._batch(stop - start))
            outputs = self._forward(scans, True)
            return self._change(check_outputs(outputs, stop - start, self.output_kind))

        def run(start: int, stop: int) -> None:
            made = self._first(lambda: own(start, stop)) if stop - start > 1 and not self._settled else None
            if made is not None:
                changes[start:stop] = made
                return
            size = 1 if self.batch_size == 1 else stop - start
            for first in range(start, stop, size):
                changes[first : first + size] = own(first, first + size)

        left = in_batches(len(changes), self.batch_size, self.volume.device, run, advance)
        if self.batch_size != 1:  # later chunks do not retry a size that ran out of memory
            self.batch_size = left
        return lambda: changes

    def _first(self, run: Callable[[], Tensor]) -> Tensor | None:
        """Check, on the first batch, whether regions may share a batch.

        Returns the scores of that batch. Returns None if the caller has to score it: because a model of
        torch's own layers needs no check, or because regions may not share a batch.
        """
        if runs_apart(self.model):
            self._settled = True
            return None
        made, dependence = run_watched(run, self.model, self._forward, self.volume)
        self.settle(dependence)
        return made if dependence is None else None

    def _batch(self, size: int) -> Tensor:
        """Return a buffer for ``size`` occluded copies; it is reused from batch to batch."""
        if self._buffer is None or self._buffer.shape[0] < size:
            self._buffer = None
            self._buffer = self.volume.new_empty((size, *self.volume.shape))
        return self._buffer[:size]


def filled(
    volume: Tensor, regions: Regions, fill: Filling, start: int, out: Tensor | None = None
) -> Tensor:
    """Return copies of a scan, each with one region filled.

    Parameters
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]``.
    fill : Tensor or RegionFill
        Fill values: broadcastable to ``volume``, or computed for each region.
    regions : Regions
        The regions; the first copy shows region ``start``, the next one the region after it.
    start : int
        Index of the first region.
    out : Tensor, optional
        ``[B, C, D, H, W]``: overwritten with ``B`` copies. Without it, a single copy is allocated.

    Returns
    -------
    Tensor
        ``[B, C, D, H, W]``: ``out``, if it was given.
    """
    batch = volume.new_empty((1, *volume.shape)) if out is None else out
    chosen = slice(start, start + len(batch))
    segments = regions.segments
    if isinstance(fill, RegionFill):
        batch.copy_(volume.expand_as(batch))
        for place, copy in enumerate(batch, start):
            of_segment = () if segments is None else (segments.labels, segments.intervals[place])
            fill_region(copy, fill, regions.boxes[place], *of_segment)
    elif segments is None:
        ops.occlude_boxes(volume, torch.from_numpy(regions.boxes[chosen]), fill, out=batch)
    else:
        intervals = torch.from_numpy(segments.intervals[chosen])
        ops.occlude_labels(volume, segments.labels, intervals, fill, out=batch)
    return batch
