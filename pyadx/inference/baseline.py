"""The scan from which changes are measured.

It is unperturbed at first, and changes when regions are committed, that is, filled permanently.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.model_state import Forward, evaluation_mode, tensor_float
from pyadx.inference.reading import Reading
from pyadx.inference.region_fill import Filling, RegionFill, in_interval, members, window
from pyadx.inference.regions import Regions
from pyadx.inference.score import class_score
from pyadx.inference.watch import OutputWatch


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A snapshot: the scan, the model's outputs for it, and what was cached."""

    volume: Tensor
    outputs: Tensor
    logits: Tensor
    kept: Any


class Baseline:
    """A scan, the fill values of regions, and the score from which changes are measured.

    Attributes
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]`` as it is now.
    reference : float
        The score of `volume`.
    """

    volume: Tensor
    fill: Filling
    model: nn.Module
    reference: float
    _forward: Forward
    _reading: Reading
    _outputs: Tensor
    _target: Tensor
    _shared: dict[str, Any]
    _watch: OutputWatch
    _owns_volume = False

    def commit(self, regions: Regions, values: Tensor | None = None) -> Tensor:
        """Fill regions permanently, one after another. Later changes are measured from the filled scan.

        The scorer works on a copy from here on: the tensor that it was given is not changed.

        Parameters
        ----------
        regions : Regions
            From `Scorer.regions` or `pyadx.inference.segments.distinct_segments`. They may have been made
            before earlier commits.
        values : Tensor, optional
            New values of the regions' voxels, broadcastable to ``[C, D, H, W]``. The original scan restores
            them. By default, the scorer's fill.

        Returns
        -------
        Tensor
            float64 ``[R]``: the score of the scan after each region was filled.
        """
        if values is not None:
            values = ops.fill_tensor(values, self.volume).expand_as(self.volume)
        scores = []
        with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
            for place in range(len(regions.boxes)):
                scores.append(self._commit_one(regions.part(np.array([place])), values))
        return torch.tensor(scores, dtype=torch.float64)

    def rebase(self, volume: Tensor | None = None) -> float:
        """Run the model on the current scan or a new one, and compute cached maps from scratch.

        Every commit adds a float32 rounding error. This removes the accumulated error.

        Parameters
        ----------
        volume : Tensor, optional
            The new scan, broadcastable to ``[C, D, H, W]``. By default, the current one.

        Returns
        -------
        float
            Absolute difference between the new and the previous score. If the scan is the same, this is the
            accumulated rounding error.
        """
        if volume is not None:
            self.volume, self._owns_volume = volume.to(self.volume).expand_as(self.volume).clone(), True
        earlier = self.reference
        with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
            outputs = self._forward(self.volume[None].clone())
            logits = self._reading.again(outputs, 1, exact=True)
        self._outputs = outputs
        self._set_base(logits)
        self._forget()
        return abs(earlier - self.reference)

    def snapshot(self, regions: Regions) -> Snapshot:
        """Take a snapshot of the scan, and of what is cached for regions like these.

        `restore` returns to it bit for bit and without a forward pass. The snapshot holds a second copy of
        the cache, where memory allows one.
        """
        return Snapshot(self.volume.clone(), self._outputs, self._logits, self._keep(regions))

    def restore(self, snapshot: Snapshot) -> None:
        """Return to the scan of a snapshot. The fill values stay as they are now."""
        self.volume, self._owns_volume = snapshot.volume.clone(), True
        self._outputs = snapshot.outputs
        self._set_base(snapshot.logits)
        self._bring_back(snapshot.kept)

    def refill(self, fill: Tensor) -> None:
        """Change the fill values from here on; ``fill`` is broadcastable to ``[C, D, H, W]``."""
        self.fill = ops.fill_tensor(fill, self.volume)
        self._set_base(self._logits)
        self._forget()

    def filled(self, regions: Regions) -> Tensor:
        """Return a copy of the scan with all of these regions filled, ``[C, D, H, W]``."""
        out = self.volume.clone()
        for place in range(len(regions.boxes)):
            box, new = self._values(regions.part(np.array([place])), None)
            at = (slice(None), *window(box))
            out[at] = torch.where(new != self.volume[at], new, out[at])
        return out

    def _keep(self, regions: Regions) -> Any:
        """Return a copy of what is cached for the scan; None if nothing is, or if a copy would not fit."""

    def _bring_back(self, kept: Any) -> None:
        """Restore what `_keep` returned."""
        self._forget()

    def _forget(self) -> None:
        """Drop what is cached for the scan and its fill values."""

    def _commit_one(self, region: Regions, values: Tensor | None) -> float:
        if not self._owns_volume:
            self.volume, self._owns_volume = self.volume.clone(), True
        box, new = self._values(region, values)
        outputs = self._move(box, new)
        logits = self._reading.again(outputs, 1, exact=True)
        self._outputs = outputs.to(self._outputs.dtype)
        score, logit = self._score_before, self._before
        self._set_base(logits)
        self._watch.moved(self._score_before - score, self._before - logit)
        return self.reference

    def _values(self, region: Regions, values: Tensor | None) -> tuple[np.ndarray, Tensor]:
        """Return the box of one region, and the box's values once the region is filled."""
        box = region.boxes[0]
        old = self.volume[(slice(None), *window(box))]
        segments = region.segments
        if values is None and isinstance(self.fill, RegionFill):
            chosen = () if segments is None else (segments.labels, segments.intervals[0])
            inside = members(self.fill, box, *chosen)
            return box, torch.where(inside, self.fill.values(box, inside), old)
        filled = self.fill.expand_as(self.volume) if values is None else values  # type: ignore[union-attr]
        new = filled[(slice(None), *window(box))]
        if segments is not None:
            new = torch.where(in_interval(segments.labels, segments.intervals[0], box), new, old)
        return box, new

    def _move(self, box: np.ndarray, values: Tensor) -> Tensor:
        """Change a box of the scan; return the model's outputs for the new scan, ``[1, classes]``."""
        self.volume[(slice(None), *window(box))] = values
        return self._forward(self.volume[None].clone())

    def _set_base(self, logits: Tensor) -> None:
        """Set the class scores from which changes are measured."""
        self._logits = logits
        self._before = class_score(logits, self._target, "logit")
        self._score_before = self._reading.value(logits, self._target)
        self.reference = float(self._score_before)
        self._shared = {name: value for name, value in vars(self).items() if name in self._shared}
