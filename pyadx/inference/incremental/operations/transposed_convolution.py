"""Transposed convolution: every changed cell spreads over a window of outputs."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
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
from pyadx.inference.incremental.trace import aten, functional, per_axis, with_defaults
from pyadx.ops import patches


class TransposedConvolution(Step):
    """A transposed convolution: every changed cell spreads over a window of outputs."""

    linear = True

    def __init__(
        self, output: fx.Node, source: fx.Node, weight: Tensor, window: bx.Window, groups: int
    ) -> None:
        super().__init__(output, [source])
        self.weight, self.window, self.groups = weight, window, groups

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of outputs that a changed cell reaches."""
        return bx.clipped(self._spread(boxes[0]), self.size)

    def _spread(self, boxes: np.ndarray) -> np.ndarray:
        """Return the boxes that changes spread to; they may reach beyond the map."""
        found = bx.input_frames(boxes, self.window)
        found[(boxes[:, 3:] <= boxes[:, :3]).any(1)] = 0
        return found

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return the boxes that changes spread to before they are clipped to the map, and the output boxes.

        Both start from the first cell that anything spreads to, which is ``padding`` cells before the map.
        """
        moved = np.tile(np.asarray(self.window.padding, np.int32), 2)
        return [self._spread(boxes[0]) + moved, out_boxes + moved]

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Count a product per changed cell and tap."""
        flops = 2.0 * bx.cells(boxes[0]) * float(self.weight.numel())
        moved = bx.cells(boxes[0]) * self.weight.shape[0] + 3 * bx.cells(out_boxes) * self.channels
        return Work(flops, moved * element_size(self.output))

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the elements of the changes without entries beyond boxes, and of what they spread to."""
        given = slots[self.inputs[0]]
        spread = prod(bx.frame_size(given, self.window)) * self.channels
        return prod(given) * self.weight.shape[0] + 2 * spread

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Spread the changes, and cut out what is inside the map."""
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


def transposed_convolution(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a transposed convolution with constant weights."""
    weight = low.constant(node.args[1])
    if functional(node.target) is aten.convolution.default:
        values = with_defaults(node.args[3:], [])
        stride, padding, dilation, transposed, _, groups = values
        if not transposed:
            return None
    else:
        stride, padding, _, groups, dilation = with_defaults(node.args[3:], [1, 0, 0, 1, 1])
    if weight is None or weight.dim() != 5 or node.args[0] not in low.changing:
        return None
    window = bx.Window(per_axis(weight.shape[2:]), per_axis(stride), per_axis(padding), per_axis(dilation))
    return Match(TransposedConvolution(node, source, weight, window, int(groups)))


MAP_RULES: Rules = dict.fromkeys(
    (aten.conv_transpose3d.input, aten.convolution.default), transposed_convolution
)
