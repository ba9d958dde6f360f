"""Sums and differences of maps of the same size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step
from pyadx.inference.incremental.trace import aten, functional
from pyadx.ops import patches


class Sum(Step):
    """A sum or difference of maps of the same size: the sum of ``factor * map`` over its terms."""

    linear = True

    def __init__(self, output: fx.Node, terms: Sequence[tuple[fx.Node, float]]) -> None:
        super().__init__(output, [node for node, _ in terms])
        self.factors = [factor for _, factor in terms]

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes around all terms."""
        return bx.union(boxes)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Write the first term, and add the others to it."""
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        for index, (term, factor) in enumerate(zip(inputs, self.factors, strict=True)):
            data = term.data if factor == 1 else term.data * factor
            patches.place(data, term.boxes, out_boxes, out, add=index > 0)
        return Patch(out, out_boxes)


def add_or_subtract(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a sum or difference of maps. Constant terms are left out: they do not affect the change."""
    sign = -1.0 if functional(node.target) is aten.sub.Tensor else 1.0
    alpha: Any = node.kwargs.get("alpha", 1)
    terms = []
    for value, factor in zip(node.args[:2], (1.0, sign * alpha), strict=True):
        if isinstance(value, fx.Node) and value in low.changing:
            own = low.resolve(value)
            if own.meta["val"].shape[1:] != node.meta["val"].shape[1:]:
                return None  # broadcast
            terms.append((own, factor))
    return Match(Sum(node, terms))


MAP_RULES: Rules = dict.fromkeys((aten.add.Tensor, aten.sub.Tensor), add_or_subtract)
