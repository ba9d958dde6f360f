"""What a batch of regions needs on the device: boxes, tables, and the sizes of its slots.

A slot is the part of a batch's memory that holds the patch of one region. All slots of a node in a batch
have the same size.
"""

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

# Cells per axis that a slot may be smaller than the largest. That makes two sizes; a single one would
# cost a fifth more products.
_SMALLER = 1


@dataclass(frozen=True)
class Room:
    """Sizes that a batch is padded to. A GPU then meets few shapes.

    Attributes
    ----------
    slots : mapping
        The largest slot of every node. The batch's slots have this size or one cell less along each axis.
    rows : int
        Number of regions; those that pad the batch change nothing.
    """

    slots: Mapping[fx.Node, bx.Triple]
    rows: int

    def slot(self, node: fx.Node, own: bx.Triple) -> bx.Triple:
        """Return the padded size of a node's slot; ``own`` is the size that its boxes need."""
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
    """Make a batch: size its slots, and send what its steps read to the device in one copy.

    Parameters
    ----------
    plan : Plan
        The steps to run.
    grown : mapping
        Boxes of all regions in every node, ``[R, 6]`` each.
    chosen : slice
        The regions of this batch.
    workspace : Workspace
        Lends the memory of patches.
    precision : torch.dtype
        Dtype in which convolutions compute.
    device : torch.device
        Device of the scan.
    segments : Segments, optional
        Labels and intervals of all regions, if regions are not whole boxes.
    room : Room, optional
        Sizes that the batch is padded to.

    Returns
    -------
    Batch
        With as many regions as ``chosen``, or as ``room`` has rows.
    """
    batch = Batch(chosen.stop - chosen.start if room is None else room.rows, workspace, precision)
    batch.doubtful = torch.zeros(batch.size, dtype=torch.bool, device=device)
    own = {node: _padded(boxes[chosen], batch.size) for node, boxes in grown.items()}
    tables = {
        step.output: step.tables([own[n] for n in step.inputs], own[step.output])
        for step in plan.steps
        if step.output in own
    }
    arrays = [*own.values(), *(table for several in tables.values() for table in several)]
    if segments is not None:
        arrays.append(_padded(segments.intervals[chosen], batch.size))
    sent = iter(on_device(arrays, device))
    for node, boxes in own.items():
        batch.slots[node] = bx.largest(boxes) if room is None else room.slot(node, bx.largest(boxes))
        batch.boxes[node] = next(sent)
    for node, several in tables.items():
        batch.tables[node] = [next(sent) for _ in several]
    batch.intervals = None if segments is None else next(sent)
    return batch


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    """Pad with rows of zeros, which are empty boxes, and intervals of no label."""
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), rows.shape[1]), rows.dtype)])
