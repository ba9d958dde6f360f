"""The reference scorer: one full forward per region."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyadx import ops
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
        boxes, segments = torch.from_numpy(regions.boxes), regions.segments
        changes = self._outputs.new_empty(len(boxes))

        def run(start: int, stop: int) -> None:
            batch = self._batch(stop - start)
            if segments is None:
                ops.occlude_boxes(self.volume, boxes[start:stop], self.fill, out=batch)
            else:
                intervals = torch.from_numpy(segments.intervals[start:stop])
                ops.occlude_labels(self.volume, segments.labels, intervals, self.fill, out=batch)
            outputs = check_outputs(self._forward(_channels_last(batch)), stop - start, self.output_kind)
            changes[start:stop] = self._change(outputs)

        in_batches(len(boxes), self.batch_size, self.volume.device, run, advance)
        return changes

    def _batch(self, size: int) -> Tensor:
        """Return a buffer for ``size`` occluded copies, kept from batch to batch."""
        if self._buffer is None or self._buffer.shape[0] < size:
            self._buffer = None
            self._buffer = self.volume.new_empty((size, *self.volume.shape))
        return self._buffer[:size]


def _channels_last(batch: Tensor) -> Tensor:
    """View a contiguous one-channel batch as channels-last: same memory, faster convolutions."""
    if batch.shape[1] != 1:
        return batch
    strides = list(batch.stride())
    strides[1] = 1
    return batch.as_strided(batch.shape, strides)
