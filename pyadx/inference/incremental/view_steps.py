"""Steps that move changes without changing them: other channels, mirrored axes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step
from pyadx.ops import patches


class Channels(Step):
    """Channels of a map: some of them, or all in another order."""

    def __init__(self, output: fx.Node, source: fx.Node, picked: Tensor) -> None:
        """Take for every channel the one of the source that it is, int64 ``[K]``."""
        super().__init__(output, [source])
        self.picked = picked.to(source.meta["val"].device)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """One pass."""
        out = batch.new(self.output, self.channels)
        torch.index_select(inputs[0].data, 4, self.picked, out=out)
        return Patch(out, inputs[0].boxes)


class Flip(Step):
    """A map mirrored along axes."""

    def __init__(self, output: fx.Node, source: fx.Node, axes: Sequence[int]) -> None:
        """Take the axes, counted from 0 for the first spatial one."""
        super().__init__(output, [source])
        self.axes = tuple(axes)

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Mirror the boxes."""
        found = boxes[0].copy()
        for axis in self.axes:
            found[:, axis] = self.size[axis] - boxes[0][:, axis + 3]
            found[:, axis + 3] = self.size[axis] - boxes[0][:, axis]
        found[(boxes[0][:, 3:] <= boxes[0][:, :3]).any(1)] = 0
        return found

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Where a mirrored slot holds its box, and the slot: its beginning moves to its end."""
        lengths = boxes[0][:, 3:] - boxes[0][:, :3]
        slot = lengths.max(0, initial=1)
        low = np.zeros_like(lengths)
        low[:, self.axes] = (slot - lengths)[:, self.axes]
        whole = np.broadcast_to(np.concatenate([np.zeros(3, np.int32), slot]), boxes[0].shape)
        return [np.concatenate([low, low + lengths], 1).astype(np.int32), whole.astype(np.int32)]

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Mirror the slots, and cut the boxes out of them."""
        out = batch.new(self.output, self.channels)
        mirrored = inputs[0].data.flip([axis + 1 for axis in self.axes]).contiguous()
        frames, whole = batch.tables[self.output]
        patches.gather(frames, out, patches=mirrored, boxes=whole)
        return Patch(out, batch.boxes[self.output])
