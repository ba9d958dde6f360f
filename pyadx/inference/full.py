"""The reference scorer: one full forward per region."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyadx import ops
from pyadx.inference.batch.axis import ALL_APART
from pyadx.inference.batch.dependence import runs_apart
from pyadx.inference.batching import in_batches
from pyadx.inference.regions import Regions
from pyadx.inference.score import check_outputs
from pyadx.inference.scorer import Scorer


class FullScorer(Scorer):
    """Scores regions of one scan by running the whole model on every occluded copy.

    Parameters, attributes and errors are those of `pyadx.inference.scorer.Scorer`.
    """

    _buffer: Tensor | None = None

    def _score_chunk(self, regions: Regions, advance: Callable[[int], None]) -> Tensor:
        changes = self._outputs.new_empty(len(regions.boxes))

        def run(start: int, stop: int) -> None:
            batch = self._batch(stop - start)
            scans = filled(self.volume, regions, self.fill, start, batch)
            changes[start:stop] = self._change(
                check_outputs(self._forward(scans, channels_last=True), stop - start, self.output_kind)
            )

        if not self._settled and len(changes) > 1:
            self.settle_batches(ALL_APART if runs_apart(self.model) else None)
        # What did not fit once is not tried again, in this chunk or the next.
        self.batch_size = in_batches(len(changes), self.batch_size, self.volume.device, run, advance)
        return changes

    def _batch(self, size: int) -> Tensor:
        """Return a buffer for ``size`` occluded copies, kept from batch to batch."""
        if self._buffer is None or self._buffer.shape[0] < size:
            self._buffer = None
            self._buffer = self.volume.new_empty((size, *self.volume.shape))
        return self._buffer[:size]


def filled(volume: Tensor, regions: Regions, fill: Tensor, start: int, out: Tensor | None = None) -> Tensor:
    """Return copies of a scan with one region filled in each.

    Parameters
    ----------
    volume, fill : Tensor
        The scan ``[C, D, H, W]``, and what regions are filled with.
    regions : Regions
        What is filled.
    start : int
        Which region comes first.
    out : Tensor, optional
        ``[B, C, D, H, W]``, written: a region after another; without it a single copy is made.

    Returns
    -------
    Tensor
        ``[B, C, D, H, W]``.
    """
    batch = volume.new_empty((1, *volume.shape)) if out is None else out
    chosen = slice(start, start + len(batch))
    segments = regions.segments
    if segments is None:
        ops.occlude_boxes(volume, torch.from_numpy(regions.boxes[chosen]), fill, out=batch)
    else:
        intervals = torch.from_numpy(segments.intervals[chosen])
        ops.occlude_labels(volume, segments.labels, intervals, fill, out=batch)
    return batch
