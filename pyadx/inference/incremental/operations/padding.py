"""Padding by a constant or by copies of cells, and crops."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.operations.resampling import AlongAxes, strided_slice
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step, map_size
from pyadx.inference.incremental.trace import aten, functional, with_defaults
from pyadx.ops import patches

_REPEATING = {
    aten.replication_pad3d.default: "replicate", aten.reflection_pad3d.default: "reflect",
}  # fmt: skip


class Shift(Step):
    """A map padded with a constant, or cropped: its changes are shifted."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, offset: bx.Triple) -> None:
        super().__init__(output, [source])
        self.offset = offset

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Shift and clip the boxes."""
        return bx.shifted(boxes[0], self.offset, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return the output boxes in cells of the input map."""
        return [out_boxes - np.tile(np.asarray(self.offset, np.int32), 2)]

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Cut the changes out at the shifted boxes."""
        out = batch.new(self.output, self.channels)
        patches.gather(
            batch.tables[self.output][0], out,
            patches=inputs[0].data, boxes=inputs[0].boxes,
        )  # fmt: skip
        return Patch(out, batch.boxes[self.output])


def pad(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match padding; negative amounts crop."""
    target = functional(node.target)
    amounts, mode = with_defaults(node.args[1:], [None, _REPEATING.get(target, "constant")])[:2]
    if target is not aten.constant_pad_nd.default and mode != "constant":
        if mode in ("replicate", "reflect", "circular") and len(amounts) <= 6:
            return _repeating(low, node, source, mode)
        return None
    amounts = [*amounts, *[0] * (10 - len(amounts))]
    if any(amounts[6:]):
        return None
    return Match(Shift(node, source, (amounts[4], amounts[2], amounts[0])))


def _repeating(low: Lowered, node: fx.Node, source: fx.Node, mode: str) -> Match:
    """Match padding by copies of cells. Padding one axis after another gives the same result."""
    amounts: Any = node.args[1]
    pairs = [amounts[i : i + 2] for i in (4, 2, 0) if i + 1 < len(amounts)]
    pairs = [[0, 0]] * (3 - len(pairs)) + pairs
    matrices = []
    for (before, after), given in zip(pairs, map_size(source), strict=True):
        line = torch.eye(given, dtype=source.meta["val"].dtype)[None]  # one unit vector per channel
        padded = F.pad(line, (before, after), mode=mode) if before or after else line
        matrices.append(padded[0].T.to(source.meta["val"].device))
    return Match(AlongAxes(node, source, matrices))


def crop(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a slice of a spatial axis."""
    axis, start, _, step = with_defaults(node.args[1:], [0, 0, None, 1])
    values = [source.meta["val"], node.meta["val"]]
    if not isinstance(axis, int) or axis % 5 < 2 or values[1].dim() != 5:
        return None
    if step != 1:
        return strided_slice(low, node, source)
    size = int(values[0].shape[axis])
    first = 0 if start is None else int(start)
    first = max(first + size, 0) if first < 0 else min(first, size)
    offset = [0, 0, 0]
    offset[axis % 5 - 2] = -first
    return Match(Shift(node, source, (offset[0], offset[1], offset[2])))


MAP_RULES: Rules = dict.fromkeys((aten.pad.default, aten.constant_pad_nd.default, *_REPEATING), pad)
