"""The paper's baseline: sensitivity to an occluding box around every voxel (section 3.3)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.explainers.options import RunOptions
from pyadx.explainers.volumes import check_volume
from pyadx.explainers.windows import WindowGrid, boxes_that_change, triple
from pyadx.inference.batching import BatchSize
from pyadx.inference.full import FullScorer
from pyadx.inference.score import Score, Target, targets_per_scan

Engine = Literal["auto", "full"]
_ENGINES = ("auto", "full")


class Occlusion:
    """Occlusion sensitivity: how far the class score moves when a box is filled.

    ``H(v) = |p(V) - p(V with the box centred on v filled)|`` for every voxel ``v`` of the grid that
    ``stride`` sets; between the voxels of a strided grid the map is interpolated. Windows that change
    no voxel score zero without a forward pass. `pyadx.explainers.windows` states where windows lie.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    window : int or sequence of int
        Size of the box in voxels, one or one per axis; 7 in the paper.
    stride : int or sequence of int
        Distance between windows, one or one per axis; 1 in the paper. Any stride is allowed, also
        one larger than the window.
    fill : float, sequence of float, or Tensor
        What boxes are filled with: a number (0, the background of a masked scan, in the paper), one
        number per channel, or a volume ``[D, H, W]`` or ``[C, D, H, W]`` to copy from.
    engine : {"auto", "full"}
        ``full`` runs the whole model once per window.
    score : {"probability", "logit"}
        What is followed: the softmax probability of the class (the paper), or its score before
        softmax.
    batch_size : int or "auto"
        Windows per forward pass; halved when memory runs out.
    progress : bool
        Show a progress bar with the time left.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        window: int | Sequence[int] = 7,
        stride: int | Sequence[int] = 1,
        fill: ops.Fill = 0.0,
        engine: Engine = "auto",
        *,
        score: Score = "probability",
        batch_size: BatchSize = "auto",
        progress: bool = False,
    ) -> None:
        if engine not in _ENGINES:
            raise ValueError(f"engine must be one of {', '.join(_ENGINES)}, got {engine!r}")
        self.options = RunOptions(score, batch_size, progress)
        self.model = model
        self.window = triple("window", window)
        self.stride = triple("stride", stride)
        self.fill = fill
        self.engine: Engine = engine

    def __call__(self, volume: Tensor, target: Target = None) -> Tensor:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume : Tensor
            ``[B, C, D, H, W]`` or ``[C, D, H, W]``, on the model's device, of its dtype.
        target : int, str, sequence, or None
            Class whose score is followed, for all scans or one per scan; ``None`` takes the predicted
            class of each scan.

        Returns
        -------
        Tensor
            float32 ``[B, D, H, W]`` on the volume's device.

        Raises
        ------
        TypeError, ValueError
            If the volume, target or fill does not fit.
        """
        volume = check_volume(volume, self.model)
        targets = targets_per_scan(target, volume.shape[0])
        return torch.stack([self._one(scan, own) for scan, own in zip(volume, targets, strict=True)])

    def _one(self, scan: Tensor, target: Target) -> Tensor:
        grid = WindowGrid(tuple(scan.shape[1:]), self.window, self.stride)
        scorer = FullScorer(
            self.model,
            scan,
            target,
            fill=self.fill,
            score=self.options.score,
            batch_size=self.options.batch_size,
            progress=self.options.progress,
        )
        boxes = grid.boxes()
        changing = boxes_that_change(scorer.volume, boxes, scorer.fill)
        scores = scorer.volume.new_zeros(boxes.shape[0])
        scores[changing.to(scores.device)] = scorer.score(boxes[changing]).to(scores.dtype)
        return grid.paint(scores)
