"""The reference scorer: one full forward per region."""

import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.batching import (
    BatchSize,
    check_batch_size,
    in_batches,
)
from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.progress import progress_bar
from pyadx.inference.score import (
    Score,
    Target,
    check_outputs,
    check_score,
    class_score,
    resolve_target,
)


class FullScorer:
    """Scores regions of one scan by running the whole model on every occluded copy.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores ``[B, classes]``; run in evaluation mode and left as
        it was found.
    volume : Tensor
        One scan ``[C, D, H, W]`` or ``[1, C, D, H, W]`` on the model's device.
    target : int, str or None
        Class whose score is followed; ``None`` takes the predicted class.
    fill : float, sequence of float, or Tensor
        What regions are filled with (see `pyadx.ops.fill_tensor`).
    score : {"probability", "logit"}
        Softmax probability (the paper), or the class score before softmax.
    batch_size : int or "auto"
        Regions per forward; halved when memory runs out.
    progress : bool
        Show a progress bar.

    Attributes
    ----------
    target : int
        Index of the class that is followed.
    reference : float
        Score of the unperturbed scan.

    Raises
    ------
    TypeError, ValueError
        If the volume, target or an option does not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        volume: Tensor,
        target: Target = None,
        *,
        fill: ops.Fill = 0.0,
        score: Score = "probability",
        batch_size: BatchSize = "auto",
        progress: bool = False,
    ) -> None:
        check_score(score)
        check_batch_size(batch_size)
        if volume.dim() == 5 and volume.shape[0] == 1:
            volume = volume[0]
        if volume.dim() != 4:
            raise ValueError(f"volume must be one scan [C,D,H,W], got {tuple(volume.shape)}")
        self.volume = volume.detach().contiguous()
        self.fill = ops.fill_tensor(fill, self.volume)
        if not torch.isfinite(self.fill).all():
            raise ValueError("fill holds NaN or infinity")
        self.score_kind: Score = score
        self.batch_size = batch_size
        self.progress = progress
        self._model = model
        self._forward = Forward(model)
        self._buffer: Tensor | None = None
        with evaluation_mode(model), torch.no_grad():
            outputs = check_outputs(self._forward(self.volume[None]), 1)
        self._target = resolve_target(target, outputs, model)
        self.target = int(self._target)
        self._reference = class_score(outputs, self._target, score)
        self.reference = float(self._reference)

    def score(self, boxes: Tensor) -> Tensor:
        """Return ``|score(scan) - score(scan with the box filled)|`` of every box.

        Parameters
        ----------
        boxes : Tensor
            Integers ``[B, 6]``: half-open ``z0, y0, x0, z1, y1, x1``, clipped at the border.

        Returns
        -------
        Tensor
            ``[B]``, on the volume's device, of the dtype of the model's outputs.
        """
        boxes = torch.as_tensor(boxes)
        changes = self._reference.new_empty(boxes.shape[0])
        with (
            evaluation_mode(self._model),
            torch.no_grad(),
            progress_bar("occlusion", boxes.shape[0], self.progress) as advance,
        ):

            def run(start: int, stop: int) -> None:
                batch = self._batch(stop - start)
                ops.occlude_boxes(self.volume, boxes[start:stop], self.fill, out=batch)
                outputs = check_outputs(self._forward(_channels_last(batch)), stop - start)
                scores = class_score(outputs, self._target.expand(stop - start), self.score_kind)
                changes[start:stop] = (scores - self._reference).abs()

            in_batches(boxes.shape[0], self.batch_size, self.volume.device, run, advance)
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
