"""Linear layers: on a flattened map, and after the last map."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    VectorStep,
    Work,
    channels_innermost,
    element_size,
)
from pyadx.inference.incremental.trace import aten
from pyadx.ops import patches


class FlattenedLinear(Step):
    """A linear layer on a flattened map: inner products with weights as large as the map."""

    local = False
    boxed = False
    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, weight: Tensor) -> None:
        """Take the layer's weight, ``[K, C * D * H * W]``."""
        super().__init__(output, [source])
        self.weight = weight.reshape(len(weight), *source.meta["val"].shape[1:])
        self._laid_out: Tensor | None = None

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Count a product per changed value and output."""
        met = bx.cells(boxes[0]) * len(self.weight) * self.weight.shape[1]
        return Work(2.0 * met, met * element_size(self.output))

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Tensor:
        """Return the change of the outputs, ``[B, K]``."""
        source = inputs[0]
        if self._laid_out is None:
            self._laid_out = channels_innermost(self.weight)
        out = source.data.new_empty(batch.size, len(self.weight))
        return patches.dot(source.data, source.boxes, self._laid_out, out)


class Linear(VectorStep):
    """A linear layer after the last map, on changes ``[B, ..., F]``."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, weight: Tensor) -> None:
        super().__init__(output, [source])
        self.weight = weight.detach().contiguous()

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """Compute it as a map of one cell: the order of sums then does not depend on the batch size."""
        change = inputs[0]
        if change.dim() != 2:
            return F.linear(change, self.weight)
        outputs, features = self.weight.shape
        boxes = change.new_zeros(batch.size, 6, dtype=torch.int32)
        boxes[:, 3:] = 1
        cells = change.reshape(batch.size, 1, 1, 1, features).contiguous()
        out = change.new_empty(batch.size, outputs)
        weight = self.weight.reshape(outputs, 1, 1, 1, features)
        return patches.dot(cells, boxes, weight, out)


def on_flattened_maps(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a linear layer on a flattened map."""
    weight = low.constant(node.args[1])
    if weight is None or source not in low.flat:
        return None
    return Match(FlattenedLinear(node, low.flat[source], weight.detach()))


def on_vectors(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a linear layer after the last map."""
    weight = low.constant(node.args[1])
    if weight is None or node.args[0] not in low.changing:
        return None
    return Match(Linear(node, source, weight))


FLAT_RULES: Rules = {aten.linear.default: on_flattened_maps}
VECTOR_RULES: Rules = {aten.linear.default: on_vectors}
