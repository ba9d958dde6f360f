"""Steps that are linear along one axis after another: resampling, padding that repeats, strides, views."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    Work,
    channels_first,
    channels_innermost,
    element_size,
)
from pyadx.ops import patches


class AlongAxes(Step):
    """A map each of whose axes is multiplied by a matrix ``[out, in]``, such as an interpolation.

    Changes go through the same matrices: only the rows and columns of the boxes are multiplied.
    """

    def __init__(self, output: fx.Node, source: fx.Node, matrices: Sequence[Tensor]) -> None:
        super().__init__(output, [source])
        self.matrices = [matrix.contiguous() for matrix in matrices]
        # Per axis and output, how many of the inputs before each are used.
        self._used = [
            np.pad((matrix != 0).cpu().numpy().cumsum(1, dtype=np.int32), ((0, 0), (1, 0)))
            for matrix in self.matrices
        ]

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Every output that uses a changed cell."""
        found = np.zeros_like(boxes[0])
        for axis, used in enumerate(self._used):
            pairs, place = np.unique(boxes[0][:, [axis, axis + 3]], axis=0, return_inverse=True)
            touched = used[:, pairs[:, 1]] > used[:, pairs[:, 0]]
            first, last = touched.argmax(0), len(used) - touched[::-1].argmax(0)
            low, high = (np.where(touched.any(0), value, 0)[place.ravel()] for value in (first, last))
            found[:, axis], found[:, axis + 3] = low, high
        found[(found[:, 3:] <= found[:, :3]).any(1)] = 0
        return found.astype(np.int32)

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Three products, one axis after the other."""
        given, made = (bx.extents(b).astype(np.float64) for b in (boxes[0], out_boxes))
        z = made[:, 0] * given[:, 1] * given[:, 2] * given[:, 0]
        y = made[:, 0] * made[:, 1] * given[:, 2] * given[:, 1]
        flops = 2.0 * self.channels * (z + y + made.prod(1) * given[:, 2])
        cells = given.prod(1) + 3 * made.prod(1)
        return Work(flops, cells * self.channels * element_size(self.output))

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the size of what is between the products."""
        (a, b, c), (z, y, x) = slots[self.inputs[0]], slots[self.output]
        return (a * b * c + z * b * c + z * y * c + z * y * x) * self.channels + z * a + y * b + x * c

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Multiply, with zeros for what is outside the boxes."""
        source, out_boxes = inputs[0], batch.boxes[self.output]
        value = batch.workspace.take(*source.data.shape)  # beyond the boxes there may be anything
        patches.gather(source.boxes, value, patches=source.data, boxes=source.boxes)
        found: Tensor = value
        slot = batch.slots[self.output]
        for axis, matrix in enumerate(self.matrices):
            cut = self._cut(matrix, source.boxes, out_boxes, axis, found.shape[axis + 1], slot[axis])
            before = found.shape[1 : axis + 1]
            rows = found.reshape(batch.size, prod(before), found.shape[axis + 1], -1)
            found = torch.matmul(cut[:, None].to(found.dtype), rows)
            found = found.reshape(batch.size, *before, slot[axis], *value.shape[axis + 2 :])
        batch.workspace.give(value)
        out = batch.new(self.output, self.channels)
        out.copy_(found)
        return Patch(out, out_boxes)

    @staticmethod
    def _cut(matrix: Tensor, boxes: Tensor, out_boxes: Tensor, axis: int, given: int, made: int) -> Tensor:
        """Cut the rows and columns of the boxes out of a matrix, ``[B, made, given]``."""
        rows = out_boxes[:, axis, None].long() + torch.arange(made, device=boxes.device)
        columns = boxes[:, axis, None].long() + torch.arange(given, device=boxes.device)
        inside = (rows < out_boxes[:, axis + 3, None])[:, :, None]
        inside = inside & (columns < boxes[:, axis + 3, None])[:, None, :]
        rows, columns = rows.clamp(max=matrix.shape[0] - 1), columns.clamp(max=matrix.shape[1] - 1)
        return torch.where(inside, matrix[rows[:, :, None], columns[:, None, :]], 0)


class TransposedConvolution(Step):
    """A transposed convolution: every changed cell spreads over a window of outputs."""

    def __init__(
        self, output: fx.Node, source: fx.Node, weight: Tensor, window: bx.Window, groups: int
    ) -> None:
        super().__init__(output, [source])
        self.weight, self.window, self.groups = weight, window, groups

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Every output that a changed cell reaches."""
        return bx.clipped(self._spread(boxes[0]), self.size)

    def _spread(self, boxes: np.ndarray) -> np.ndarray:
        found = bx.input_frames(boxes, self.window)
        found[(boxes[:, 3:] <= boxes[:, :3]).any(1)] = 0
        return found

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Where the spread changes lie before they are cut at the map's border, and where the outputs do.

        Both are counted from the first cell that anything spreads to, which lies before the map.
        """
        moved = np.tile(np.asarray(self.window.padding, np.int32), 2)
        return [self._spread(boxes[0]) + moved, out_boxes + moved]

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """All taps of every changed cell."""
        flops = 2.0 * bx.cells(boxes[0]) * float(self.weight.numel())
        moved = bx.cells(boxes[0]) * self.weight.shape[0] + 3 * bx.cells(out_boxes) * self.channels
        return Work(flops, moved * element_size(self.output))

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the size of the cleaned changes, and of what they spread to."""
        given = slots[self.inputs[0]]
        spread = prod(bx.frame_size(given, self.window)) * self.channels
        return prod(given) * self.weight.shape[0] + 2 * spread

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Spread the changes, and cut out what lies on the map."""
        source = inputs[0]
        value = batch.workspace.take(*source.data.shape)
        patches.gather(source.boxes, value, patches=source.data, boxes=source.boxes)
        spread = F.conv_transpose3d(
            channels_first(value),
            self.weight,
            stride=self.window.stride,
            dilation=self.window.dilation,
            groups=self.groups,
        )
        batch.workspace.give(value)
        out = batch.new(self.output, self.channels)
        frames, cut = batch.tables[self.output]
        patches.gather(cut, out, patches=channels_innermost(spread), boxes=frames)
        return Patch(out, batch.boxes[self.output])


class SpaceToDepth(Step):
    """Blocks of cells that become channels: ``[C, D, H, W]`` to ``[C s^3, D/s, H/s, W/s]``."""

    def __init__(self, output: fx.Node, source: fx.Node, block: bx.Triple, picked: Tensor) -> None:
        """Take for every channel its place in ``block x source channels``, int64 ``[K]``."""
        super().__init__(output, [source])
        self.picked = picked.to(source.meta["val"].device)
        self.window = bx.Window(block, block, (0, 0, 0), (1, 1, 1))

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Every block with a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Whole blocks."""
        return [bx.input_frames(out_boxes, self.window)]

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the size of the blocks, twice."""
        return 2 * prod(slots[self.output]) * prod(self.window.kernel) * self._given

    @property
    def _given(self) -> int:
        return int(self.inputs[0].meta["val"].shape[1])

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Cut blocks, and lay their cells side by side."""
        (z, y, x), (a, b, c) = batch.slots[self.output], self.window.kernel
        frames = batch.workspace.take(batch.size, z * a, y * b, x * c, self._given)
        patches.gather(batch.tables[self.output][0], frames, patches=inputs[0].data, boxes=inputs[0].boxes)
        blocks = frames.reshape(batch.size, z, a, y, b, x, c, self._given)
        blocks = blocks.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch.size, z, y, x, -1)
        out = batch.new(self.output, self.channels)
        torch.index_select(blocks, 4, self.picked, out=out)
        batch.workspace.give(frames)
        return Patch(out, batch.boxes[self.output])


class Transpose(Step):
    """A map whose spatial axes change places."""

    def __init__(self, output: fx.Node, source: fx.Node, order: bx.Triple) -> None:
        """Take for every spatial axis the one of the source that it is."""
        super().__init__(output, [source])
        self.order = order

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Turn the boxes."""
        axes = [*self.order, *(axis + 3 for axis in self.order)]
        return np.ascontiguousarray(boxes[0][:, axes])

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """One pass."""
        turned = inputs[0].data.permute(0, *(axis + 1 for axis in self.order), 4).contiguous()
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        patches.place(turned, out_boxes, out_boxes, out, add=False)
        return Patch(out, out_boxes)
