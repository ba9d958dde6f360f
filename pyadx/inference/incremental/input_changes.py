"""How filling a region changes the scan's voxels: the first patches of a batch."""

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
    """Fill minus scan, for the regions of a batch.

    Attributes
    ----------
    channels : int
        Channels of the scan.
    """

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
            int32 ``[B, 6]``: the regions' boxes, on the device.
        boxes : ndarray
            The same boxes on the host, without those that pad the batch.
        segments : Segments, optional
            Labels and one interval per box, if regions are not whole boxes.
        intervals : Tensor, optional
            int32 ``[B, 2]``: the intervals on the device.
        workspace : Workspace
            Lends temporary memory.
        """

    @abstractmethod
    def follow(self, volume: Tensor, box: np.ndarray) -> None:
        """Take note of a scan, ``[C, D, H, W]``, that differs from the one before inside ``box``."""


class VolumeChanges(InputChanges):
    """Changes by a fill that is the same for all regions.

    Parameters
    ----------
    fill : Tensor
        Broadcastable to ``[C, D, H, W]``.
    volume : Tensor
        The scan, ``[C, D, H, W]``.

    Raises
    ------
    UntraceableError
        If fill minus scan is not finite.
    """

    def __init__(self, fill: Tensor, volume: Tensor) -> None:
        self._fill = fill.expand_as(volume)
        difference = self._fill - volume
        if not torch.isfinite(difference).all():
            raise UntraceableError(
                f"fill minus scan is not finite in {volume.dtype}; look for NaN, infinity and huge values"
            )
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
            # Patches and masks share one dtype; labels are small enough to be exact in it.
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
    """Changes by a fill that depends on the region.

    Parameters
    ----------
    fill : RegionFill
        Gives the values of every region.
    volume : Tensor
        The scan, ``[C, D, H, W]``.
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
