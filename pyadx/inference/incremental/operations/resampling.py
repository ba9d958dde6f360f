"""Operations that are linear along each axis: interpolation, adaptive averages, strided slices."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step, Work, element_size, map_size
from pyadx.inference.incremental.trace import aten, functional, with_defaults
from pyadx.ops import patches

_RESIZES = {
    aten.upsample_nearest3d.vec, aten.upsample_nearest3d.default, aten.upsample_trilinear3d.vec,
    aten.upsample_trilinear3d.default, aten._upsample_nearest_exact3d.vec,
    aten._upsample_nearest_exact3d.default,
}  # fmt: skip


class AlongAxes(Step):
    """An operation that multiplies each axis of a map by a matrix ``[out, in]``, such as an interpolation.

    Changes are multiplied by the same matrices, of which only the rows and columns of the boxes are used.
    """

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, matrices: Sequence[Tensor]) -> None:
        super().__init__(output, [source])
        self.matrices = [matrix.contiguous() for matrix in matrices]
        # Per axis: entry [o, i] counts the inputs below i that output o uses.
        self._used = [
            np.pad((matrix != 0).cpu().numpy().cumsum(1, dtype=np.int32), ((0, 0), (1, 0)))
            for matrix in self.matrices
        ]

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of outputs that use a changed cell."""
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
        """Count three matrix products, one per axis."""
        given, made = (bx.extents(b).astype(np.float64) for b in (boxes[0], out_boxes))
        z = made[:, 0] * given[:, 1] * given[:, 2] * given[:, 0]
        y = made[:, 0] * made[:, 1] * given[:, 2] * given[:, 1]
        flops = 2.0 * self.channels * (z + y + made.prod(1) * given[:, 2])
        cells = given.prod(1) + 3 * made.prod(1)
        return Work(flops, cells * self.channels * element_size(self.output))

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the elements of the input, the results along each axis, and the cut matrices."""
        (a, b, c), (z, y, x) = slots[self.inputs[0]], slots[self.output]
        return (a * b * c + z * b * c + z * y * c + z * y * x) * self.channels + z * a + y * b + x * c

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Multiply along each axis, with zeros outside the boxes."""
        source, out_boxes = inputs[0], batch.boxes[self.output]
        value = batch.workspace.take(*source.data.shape)  # a copy that is zero beyond the boxes
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
        """Cut the rows of output boxes and columns of input boxes out of a matrix: ``[B, made, given]``."""
        rows = out_boxes[:, axis, None].long() + torch.arange(made, device=boxes.device)
        columns = boxes[:, axis, None].long() + torch.arange(given, device=boxes.device)
        inside = (rows < out_boxes[:, axis + 3, None])[:, :, None]
        inside = inside & (columns < boxes[:, axis + 3, None])[:, None, :]
        rows, columns = rows.clamp(max=matrix.shape[0] - 1), columns.clamp(max=matrix.shape[1] - 1)
        return torch.where(inside, matrix[rows[:, :, None], columns[:, None, :]], 0)


def resize(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match an interpolation. Its weights along each axis are what torch makes of unit vectors."""
    target: Any = functional(node.target)
    matrices = []
    for axis, (given, made) in enumerate(zip(map_size(source), map_size(node), strict=True)):
        units = _units(given, axis, source)
        sizes = [1, 1, 1]
        sizes[axis] = made
        arguments = list(node.args[1:])
        kwargs = dict(node.kwargs)
        if target._overloadname == "vec":
            # Either the size or the scales are given; the other axes have and keep one cell.
            if arguments[0] is not None:
                arguments[0] = sizes
            scales = (
                arguments[-1] if target._schema.arguments[len(arguments)].name == "scale_factors" else None
            )
            if scales is not None:
                factors: Any = scales
                arguments[-1] = [scale if a == axis else 1.0 for a, scale in enumerate(factors)]
        else:
            arguments[0] = sizes
        made_of_units = target(units, *arguments, **kwargs)
        if made_of_units.shape[axis + 2] != made:
            return None
        matrices.append(_matrix(made_of_units, axis))
    return Match(AlongAxes(node, source, matrices))


def adaptive_average(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match adaptive average pooling to more than one cell."""
    sizes: Any = node.args[1]
    wanted = [own if n is None else int(n) for n, own in zip(sizes, map_size(source), strict=True)]
    matrices = []
    for axis, given in enumerate(map_size(source)):
        own = [1, 1, 1]
        own[axis] = wanted[axis]
        averages = aten.adaptive_avg_pool3d.default(_units(given, axis, source), own)
        matrices.append(_matrix(averages, axis))
    return Match(AlongAxes(node, source, matrices))


def strided_slice(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a slice of a spatial axis with a step, such as ``x[..., ::2]``."""
    axis, start, stop, step = with_defaults(node.args[1:], [0, None, None, 1])
    if not all(isinstance(value, int | None) for value in (start, stop)) or not isinstance(step, int):
        return None
    if axis % 5 < 2 or node.meta["val"].dim() != 5:
        return None
    matrices = [torch.eye(n) for n in map_size(source)]
    matrices[axis % 5 - 2] = matrices[axis % 5 - 2][slice(start, stop, step)]
    return Match(AlongAxes(node, source, [_like(matrix, source) for matrix in matrices]))


def _units(count: int, axis: int, source: fx.Node) -> Tensor:
    """Return unit vectors along a spatial axis, one per channel; the other axes have one cell."""
    shape = [1, count, 1, 1, 1]
    shape[axis + 2] = count
    return _like(torch.eye(count), source).reshape(shape)


def _matrix(made: Tensor, axis: int) -> Tensor:
    """Return the matrix ``[out, in]`` from the result of an operation on unit vectors."""
    lines = made[0].movedim(axis + 1, 1)
    return lines.reshape(*lines.shape[:2], -1)[..., 0].T


def _like(value: Tensor, source: fx.Node) -> Tensor:
    return value.to(source.meta["val"].dtype).to(source.meta["val"].device)


MAP_RULES: Rules = dict.fromkeys(_RESIZES, resize)
