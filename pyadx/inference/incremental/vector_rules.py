"""How operations after the last map, and those that look at single cells, become steps."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx

from pyadx.inference.incremental import pointwise_rules
from pyadx.inference.incremental.convolution import FlattenedLinear, Linear
from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.map_rules import BATCH_NORMS, RELUS, normalised
from pyadx.inference.incremental.trace import aten
from pyadx.inference.incremental.vector_steps import (
    Reshape,
    VectorRelu,
    VectorScale,
)

RESHAPES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten._unsafe_view.default,
    aten.squeeze.dims, aten.squeeze.dim, aten.squeeze.default,
}  # fmt: skip


def flattened_linear(low: Lowered, node: fx.Node) -> None:
    """Lower a linear layer on a flattened map."""
    weight = low.constant(node.args[1])
    source = low.resolve(node.args[0])  # type: ignore[arg-type]
    if weight is not None and source in low.flat:
        low.add(FlattenedLinear(node, low.flat[source], weight))


def vector_or_pointwise(
    low: Lowered, node: fx.Node, target: Any, sources: Sequence[fx.Node], local: Sequence[bool]
) -> None:
    """Take what happens after the last map, or in each cell by itself."""
    value = node.meta["val"]
    if not any(local) and target in BATCH_NORMS:
        found = normalised(low, node)
        if found is not None:
            low.add(VectorScale(found[0], sources[0], found[1]), found[0])
        return
    if not isinstance(value, Tensor):
        return
    if not any(local) and target in RESHAPES:
        if value.shape[:1] == sources[0].meta["val"].shape[:1]:
            low.add(Reshape(node, sources[0]))
    elif not any(local) and target is aten.linear.default:
        weight = low.constant(node.args[1])
        if weight is not None and node.args[0] in low.changing:
            low.add(Linear(node, sources[0], weight))
    elif not any(local) and target in RELUS:
        low.add(VectorRelu(node, sources[0]))
    else:
        pointwise_rules.pointwise(low, node, target, sources, local)
