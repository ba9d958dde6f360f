"""How operations after the last map, and those that look at single cells, become steps."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from pyadx.inference.incremental.convolution import FlattenedLinear, Linear
from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.map_rules import BATCH_NORMS, RELUS, normalised
from pyadx.inference.incremental.map_steps import Pointwise
from pyadx.inference.incremental.spread import is_singular
from pyadx.inference.incremental.trace import aten
from pyadx.inference.incremental.vector_steps import (
    Reshape,
    VectorPointwise,
    VectorRelu,
    VectorScale,
)

RESHAPES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten._unsafe_view.default,
    aten.squeeze.dims, aten.squeeze.dim, aten.squeeze.default,
}  # fmt: skip
# Composite operations, which carry no tag.
_POINTWISE = {aten.selu.default, aten.relu6.default, aten.square.default}


def reshape(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a flattened map, which a linear layer may take."""
    shape = source.meta["val"].shape
    if node.meta["val"].dim() == 2 and node.meta["val"].shape[1] == shape[1:].numel():
        low.flat[node] = source


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
    elif not all(n in low.changing or n in low.trace.constants for n in node.all_input_nodes):
        return  # such as a covariate that is repeated for every scan of a batch
    elif _is_pointwise(target) and all(source.meta["val"].shape == value.shape for source in sources):
        if all(local):
            if constants_fit(low, node):
                operation = function(low, node, target, sources)
                low.add(Pointwise(node, sources, operation, is_singular(node, low.changing)))
        elif not any(local):
            operation = function(low, node, target, sources)
            low.add(VectorPointwise(node, sources, operation, is_singular(node, low.changing)))


def constants_fit(low: Lowered, node: fx.Node) -> bool:
    """Whether every constant operand is the same in all cells."""
    for operand in node.all_input_nodes:
        constant = low.constant(operand)
        if operand in low.changing:
            continue
        if constant is None or (any(n != 1 for n in constant.shape[-3:]) and constant.dim() >= 3):
            return False
        if 0 < constant.dim() < 3 and constant.numel() > 1:
            return False
    return True


def function(
    low: Lowered, node: fx.Node, target: Any, sources: Sequence[fx.Node]
) -> Callable[[Sequence[Tensor]], Tensor]:
    """Return the operation as a function of the values of its changing operands."""
    place = {source: index for index, source in enumerate(sources)}
    constants, resolve = low.trace.constants, low.resolve

    def function(values: Sequence[Tensor]) -> Tensor:
        def operand(n: fx.Node) -> Any:
            return constants[n] if n in constants else values[place[resolve(n)]]

        return target(*fx.map_arg(node.args, operand), **fx.map_arg(node.kwargs, operand))

    return function


def _is_pointwise(target: Any) -> bool:
    tags = getattr(target, "tags", ())
    return (
        torch.Tag.pointwise in tags or target in _POINTWISE
    ) and torch.Tag.nondeterministic_seeded not in tags
