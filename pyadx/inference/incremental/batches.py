"""What a batch of regions needs on the device: its boxes and tables, and how large its slots are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.plan import Plan
from pyadx.inference.incremental.steps import Batch
from pyadx.inference.incremental.uploads import on_device
from pyadx.inference.incremental.workspace import Workspace
from pyadx.inference.regions import Segments

Grown = Mapping[fx.Node, np.ndarray]

_SMALLER = 1  # cells per axis that a slot may be below the largest: two sizes, or a fifth more products


@dataclass(frozen=True)
class Room:
    """What a batch is padded to, so that a GPU meets few shapes.

    Attributes
    ----------
    slots : mapping
        The largest slot of every node. A batch's own have this size or one cell less along each axis.
    rows : int
        Regions; those that are not there change nothing.
    """

    slots: Mapping[fx.Node, bx.Triple]
    rows: int

    def slot(self, node: fx.Node, own: bx.Triple) -> bx.Triple:
        """Return a node's slot, from that which its boxes need."""
        z, y, x = (max(n, most - _SMALLER) for n, most in zip(own, self.slots[node], strict=True))
        return z, y, x


def make_batch(
    plan: Plan,
    grown: Grown,
    chosen: slice,
    workspace: Workspace,
    precision: torch.dtype,
    device: torch.device,
    segments: Segments | None = None,
    room: Room | None = None,
) -> Batch:
    """Make a batch: slots, and what its steps read on the device, sent in one copy.

    Parameters
    ----------
    plan : Plan
        What is done.
    grown : mapping
        Boxes of all regions, by node.
    chosen : slice
        Which of them are in the batch.
    workspace : Workspace
        Lends its memory.
    precision : torch.dtype
        What convolutions compute in.
    device : torch.device
        Of the scan.
    segments : Segments, optional
        Which voxels of the boxes count, for all regions.
    room : Room, optional
        What the batch is padded to.

    Returns
    -------
    Batch
        Of the size of ``chosen``, or of ``room``.
    """
    batch = Batch(chosen.stop - chosen.start if room is None else room.rows, workspace, precision)
    batch.doubtful = torch.zeros(batch.size, dtype=torch.bool, device=device)
    own = {node: _filled_up(boxes[chosen], batch.size) for node, boxes in grown.items()}
    tables = {
        step.output: step.tables([own[n] for n in step.inputs], own[step.output])
        for step in plan.steps
        if step.output in own
    }
    arrays = [*own.values(), *(table for several in tables.values() for table in several)]
    if segments is not None:
        arrays.append(_filled_up(segments.intervals[chosen], batch.size))
    sent = iter(on_device(arrays, device))
    for node, boxes in own.items():
        batch.slots[node] = bx.largest(boxes) if room is None else room.slot(node, bx.largest(boxes))
        batch.boxes[node] = next(sent)
    for node, several in tables.items():
        batch.tables[node] = [next(sent) for _ in several]
    batch.intervals = None if segments is None else next(sent)
    return batch


def _filled_up(rows: np.ndarray, count: int) -> np.ndarray:
    """Add rows of zeros: empty boxes, and intervals of no label."""
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), rows.shape[1]), rows.dtype)])
