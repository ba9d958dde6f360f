"""Max pooling, with the ReLU before it if there is one."""

from collections.abc import Sequence

import numpy as np
from torch import fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step
from pyadx.inference.incremental.trace import aten, per_axis, with_defaults
from pyadx.ops import patches


class MaxPool(Step):
    """A max pooling, with the ReLU before it if there is one."""

    def __init__(
        self,
        output: fx.Node,
        source: fx.Node,
        before: fx.Node,
        window: bx.Window,
        rectify: bool,
    ) -> None:
        super().__init__(output, [source], [before])
        self.window = window
        self.rectify = rectify

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of outputs whose window meets a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Compute the change of the maxima."""
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        patches.max_pool(
            inputs[0].data, inputs[0].boxes, maps[self.before[0]],
            *self.window, self.rectify, out_boxes, out,
        )  # fmt: skip
        return Patch(out, out_boxes)


def step(node: fx.Node, source: fx.Node, *, rectify: bool) -> MaxPool:
    """Return the step of a max pooling, with or without a ReLU before it."""
    kernel, stride, padding, dilation, _ = with_defaults(node.args[1:], [None, [], 0, 1, False])
    window = bx.Window(per_axis(kernel), per_axis(stride or kernel), per_axis(padding), per_axis(dilation))
    return MaxPool(node, source, source, window, rectify)


def on_maps(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a max pooling; with a ReLU before it, see `relu.on_maps`."""
    return Match(step(node, source, rectify=False))


MAP_RULES: Rules = {aten.max_pool3d.default: on_maps}
