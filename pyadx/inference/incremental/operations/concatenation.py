"""Concatenation of channels."""

from collections.abc import Sequence

import numpy as np
from torch import fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step
from pyadx.inference.incremental.trace import aten, with_defaults
from pyadx.ops import patches


class Concatenate(Step):
    """A concatenation of maps of the same size along their channels."""

    linear = True

    def __init__(self, output: fx.Node, parts: Sequence[fx.Node], channels: Sequence[int]) -> None:
        """Take the parts that depend on the scan, and the first channel of each in the output."""
        super().__init__(output, parts)
        self.first = list(channels)

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes around all parts."""
        return bx.union(boxes)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Write every part into its channels."""
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        if sum(part.data.shape[-1] for part in inputs) < self.channels:
            out.zero_()
        for part, first in zip(inputs, self.first, strict=True):
            patches.place(part.data, part.boxes, out_boxes, out, channel=first)
        return Patch(out, out_boxes)


def concatenate(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a concatenation of channels; constant parts do not change."""
    arguments = with_defaults(node.args, [None, 0])
    if arguments[1] % 5 != 1:
        return None
    parts, firsts, channel = [], [], 0
    for part in arguments[0]:
        if part in low.changing:
            parts.append(low.resolve(part))
            firsts.append(channel)
        channel += int(part.meta["val"].shape[1])
    return Match(Concatenate(node, parts, firsts))


MAP_RULES: Rules = {aten.cat.default: concatenate}
