"""The scan that changes are measured from: unperturbed at first, moved when regions are filled for good."""

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
class Mark:
    """A scan that was remembered: it, what the model said of it, and what was cached."""

    volume: Tensor
    outputs: Tensor
    logits: Tensor
    kept: Any


class Baseline:
    """A scan, what regions are filled with, and the score that changes are measured from.

    Attributes
    ----------
    volume : Tensor
        The scan ``[C, D, H, W]`` as it is now.
    reference : float
        Its score.
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
        """Fill regions for good, one after another: what is scored next starts from the scan as it is then.

        The volume that the scorer was given stays as it is; `volume` is a copy from here on.

        Parameters
        ----------
        regions : Regions
            From `regions` or `pyadx.inference.segments.distinct_segments`, also from before other commits.
        values : Tensor, optional
            What their voxels become, broadcastable to ``[C, D, H, W]``: the scan brings them back. Without
            it what the scorer fills with.

        Returns
        -------
        Tensor
            float64 ``[R]``: the score of the scan after each of them.
        """
        if values is not None:
            values = ops.fill_tensor(values, self.volume).expand_as(self.volume)
        scores = []
        with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
            for place in range(len(regions.boxes)):
                scores.append(self._commit_one(regions.part(np.array([place])), values))
        return torch.tensor(scores, dtype=torch.float64)

    def rebase(self, volume: Tensor | None = None) -> float:
        """Run the model on the scan as it is now, or on another one, and make cached maps anew from there.

        Every commit rounds once more in float32. This ends it.

        Parameters
        ----------
        volume : Tensor, optional
            ``[C, D, H, W]``: what the scan is from here on.

        Returns
        -------
        float
            How far the score is from the one before: what rounding had made of it, if it is the same scan.
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

    def mark(self, regions: Regions) -> Mark:
        """Remember the scan as it is, and what is cached of it for regions like these.

        `back` comes to it without a forward pass, and to the last bit. What is cached is kept twice.
        """
        return Mark(self.volume.clone(), self._outputs, self._logits, self._keep(regions))

    def back(self, mark: Mark) -> None:
        """Return to a scan that was remembered; what regions are filled with stays as it is."""
        self.volume, self._owns_volume = mark.volume.clone(), True
        self._outputs = mark.outputs
        self._set_base(mark.logits)
        self._bring_back(mark.kept)

    def refill(self, fill: Tensor) -> None:
        """Fill regions with something else from here on, broadcastable to ``[C, D, H, W]``."""
        self.fill = ops.fill_tensor(fill, self.volume)
        self._set_base(self._logits)
        self._forget()

    def filled(self, regions: Regions) -> Tensor:
        """Return the scan with all of these regions filled, ``[C, D, H, W]``."""
        out = self.volume.clone()
        for place in range(len(regions.boxes)):
            box, new = self._values(regions.part(np.array([place])), None)
            at = (slice(None), *window(box))
            out[at] = torch.where(new != self.volume[at], new, out[at])
        return out

    def _keep(self, regions: Regions) -> Any:
        """Return a copy of what is cached of the scan; None where nothing is, or twice is too much."""

    def _bring_back(self, kept: Any) -> None:
        """Return to what was cached."""
        self._forget()

    def _forget(self) -> None:
        """Let go of what was cached of the scan, and of what it is filled with."""

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
        """Return the box of one region, and what stands in it when the region is filled."""
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
        """Change a box of the scan; return what the model says of the scan then, ``[1, classes]``."""
        self.volume[(slice(None), *window(box))] = values
        return self._forward(self.volume[None].clone())

    def _set_base(self, logits: Tensor) -> None:
        """Note the class scores that changes are measured from."""
        self._logits = logits
        self._before = class_score(logits, self._target, "logit")
        self._score_before = self._reading.value(logits, self._target)
        self.reference = float(self._score_before)
        self._shared = {name: value for name, value in vars(self).items() if name in self._shared}
