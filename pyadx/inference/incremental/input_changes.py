"""How far the scan's voxels move when regions are filled: the first patches of a batch."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.steps import channels_innermost
from pyadx.inference.incremental.workspace import Workspace
from pyadx.inference.region_fill import RegionFill, members, window
from pyadx.inference.regions import Segments
from pyadx.ops import patches


class InputChanges(ABC):
    """Fill minus scan, for the regions of a batch."""

    channels: int

    @abstractmethod
    def write(
        self,
        out: Tensor,
        frame: Tensor,
        boxes: np.ndarray,
        segments: Segments | None,
        intervals: Tensor | None,
        workspace: Workspace,
    ) -> None:
        """Write the changes of regions.

        Parameters
        ----------
        out : Tensor
            ``[B, d, h, w, C]``, written; 0 outside a region.
        frame : Tensor
            The regions' boxes ``[B, 6]`` on the device.
        boxes : ndarray
            The same on the host, but for those that a batch is filled up with.
        segments : Segments, optional
            Which voxels of the boxes count, one interval for each.
        intervals : Tensor, optional
            Their intervals on the device, ``[B, 2]``.
        workspace : Workspace
            For memory that is needed for a while.
        """

    @abstractmethod
    def follow(self, volume: Tensor, box: np.ndarray) -> None:
        """Note that the scan is another one now, ``[C, D, H, W]``, within a box."""


class VolumeChanges(InputChanges):
    """The same values for all regions.

    Parameters
    ----------
    fill, volume : Tensor
        ``[C, D, H, W]``; the fill may have fewer axes.

    Raises
    ------
    UntraceableError
        If their difference is not finite.
    """

    def __init__(self, fill: Tensor, volume: Tensor) -> None:
        self._fill = fill.expand_as(volume)
        difference = self._fill - volume
        if not torch.isfinite(difference).all():
            raise UntraceableError("the difference of fill and scan is not finite")
        self._difference = channels_innermost(difference[None])[0]
        self._labels: tuple[Tensor, Tensor] | None = None
        self.channels = self._difference.shape[-1]

    def write(
        self,
        out: Tensor,
        frame: Tensor,
        boxes: np.ndarray,
        segments: Segments | None,
        intervals: Tensor | None,
        workspace: Workspace,
    ) -> None:
        """See `InputChanges.write`."""
        patches.gather(frame, out, source=self._difference)
        if segments is None or intervals is None:
            return
        labels = segments.labels
        if self._labels is None or self._labels[0] is not labels:
            # In the type of the patches; label numbers are small enough to be exact.
            self._labels = (labels, labels.to(out.dtype)[..., None].contiguous())
        own = workspace.take(*out.shape[:-1], 1)
        patches.gather(frame, own, source=self._labels[1])
        low, high = intervals.to(out.dtype).T.reshape(2, -1, 1, 1, 1, 1)
        out.masked_fill_((own < low) | (own >= high), 0)
        workspace.give(own)

    def follow(self, volume: Tensor, box: np.ndarray) -> None:
        """See `InputChanges.follow`."""
        own = (slice(None), *window(box))
        self._difference[window(box)] = (self._fill[own] - volume[own]).movedim(0, -1)


class RegionChanges(InputChanges):
    """Values that depend on the region.

    Parameters
    ----------
    fill : RegionFill
        What regions are filled with.
    volume : Tensor
        The scan as it is, ``[C, D, H, W]``.
    """

    def __init__(self, fill: RegionFill, volume: Tensor) -> None:
        self._fill = fill
        self._scan = volume
        self.channels = volume.shape[0]

    def follow(self, volume: Tensor, box: np.ndarray) -> None:
        """See `InputChanges.follow`."""
        self._scan = volume

    def write(
        self,
        out: Tensor,
        frame: Tensor,
        boxes: np.ndarray,
        segments: Segments | None,
        intervals: Tensor | None,
        workspace: Workspace,
    ) -> None:
        """See `InputChanges.write`."""
        out.zero_()
        for place, box in enumerate(boxes):
            of_segment = () if segments is None else (segments.labels, segments.intervals[place])
            inside = members(self._fill, box, *of_segment)
            scan = self._scan[(slice(None), *window(box))]
            moved = torch.where(inside, self._fill.values(box, inside) - scan, 0.0)
            depth, height, width = inside.shape
            out[place, :depth, :height, :width] = moved.movedim(0, -1)
