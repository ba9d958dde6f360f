"""From a traced model to the steps that recompute only what changed."""

import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx

from pyadx.inference.incremental import (
    axis_rules,
    map_rules,
    pointwise_rules,
    vector_rules,
    view_rules,
)
from pyadx.inference.incremental.lowered import Lowered, is_identity
from pyadx.inference.incremental.trace import Trace, aten, functional


class Lowering(Lowered):
    """Turns nodes into steps, in order; what it does not know stays a plain operation."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        for node in trace.nodes:
            if not isinstance(node.meta.get("val"), Tensor | tuple | list):
                continue  # a size: depends on the batch, not on what is in it
            if any(source in self.changing for source in node.all_input_nodes):
                self.changing.add(node)
                if node not in self.fused:
                    self._lower(node)

    def _lower(self, node: fx.Node) -> None:
        target = functional(node.target)
        sources = [self.resolve(n) for n in node.all_input_nodes if n in self.changing]
        if is_identity(node) and self._known(sources[0]):
            self.aliases[node] = sources[0]
            return
        if target is operator.getitem:
            return  # of a batch norm's results only the map is known, which is lowered with it
        if not self._right_dtype(node):
            pointwise_rules.note_inner(self, node, target, sources)
            return
        if any(source in self.flat for source in sources):
            if target is aten.linear.default:
                vector_rules.flattened_linear(self, node)
            return
        rule = _RULES.get(target)
        if any(source in self.inner for source in sources):
            sources, rule = pointwise_rules.outer(self, sources), None
        if not all(source in self.local for source in sources):
            return
        local = [self.local[source] for source in sources]
        if rule is not None and all(local):
            rule(self, node, *sources[:1])
        elif rule is None or not all(local):
            vector_rules.vector_or_pointwise(self, node, target, sources, local)

    def _right_dtype(self, node: fx.Node) -> bool:
        value, own = node.meta["val"], self.trace.input.meta["val"].dtype
        return (value if isinstance(value, Tensor) else value[0]).dtype == own

    def _known(self, node: fx.Node) -> bool:
        return node in self.local or node in self.flat


_RULES: dict[Any, Callable[[Lowered, fx.Node, fx.Node], None]] = {
    aten.conv3d.default: map_rules.convolution,
    aten.conv3d.padding: map_rules.convolution,
    **dict.fromkeys(map_rules.BATCH_NORMS, map_rules.batch_norm),
    **dict.fromkeys(map_rules.RELUS, map_rules.relu),
    aten.max_pool3d.default: map_rules.max_pool,
    aten.avg_pool3d.default: map_rules.average_pool,
    aten.adaptive_avg_pool3d.default: map_rules.adaptive_average_pool,
    aten.mean.dim: map_rules.mean,
    aten.add.Tensor: map_rules.add_or_subtract,
    aten.sub.Tensor: map_rules.add_or_subtract,
    aten.cat.default: map_rules.concatenate,
    aten.pad.default: map_rules.pad,
    aten.constant_pad_nd.default: map_rules.pad,
    **dict.fromkeys(axis_rules.RESIZES, axis_rules.resize),
    **dict.fromkeys(axis_rules.PADS, map_rules.pad),
    **dict.fromkeys(axis_rules.TRANSPOSED, axis_rules.transposed_convolution),
    **dict.fromkeys(vector_rules.RESHAPES, view_rules.reshape),
    **dict.fromkeys(view_rules.VIEWS, view_rules.view),
    **dict.fromkeys(view_rules.SPLITS, view_rules.split),
}
