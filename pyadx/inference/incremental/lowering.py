"""Lowers a traced model to steps that recompute only what changes."""

import operator
from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx

from pyadx.inference.incremental.lowered import Lowered, Match, Rules, is_identity
from pyadx.inference.incremental.operations import (
    addition,
    average_pool,
    batch_norm,
    concatenation,
    convolution,
    linear,
    max_pool,
    padding,
    pointwise,
    relu,
    resampling,
    transposed_convolution,
    views,
)
from pyadx.inference.incremental.trace import Trace, functional

_ON_MAPS: Rules = {
    **convolution.MAP_RULES,
    **transposed_convolution.MAP_RULES,
    **batch_norm.MAP_RULES,
    **relu.MAP_RULES,
    **max_pool.MAP_RULES,
    **average_pool.MAP_RULES,
    **addition.MAP_RULES,
    **concatenation.MAP_RULES,
    **padding.MAP_RULES,
    **resampling.MAP_RULES,
    **views.MAP_RULES,
}
_ON_VECTORS: Rules = {
    **batch_norm.VECTOR_RULES,
    **relu.VECTOR_RULES,
    **linear.VECTOR_RULES,
    **views.VECTOR_RULES,
}


class Lowering(Lowered):
    """Turns nodes into steps, in order; nodes that no rule recognises stay plain operations."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        for node in trace.nodes:
            if not isinstance(node.meta.get("val"), Tensor | tuple | list):
                continue  # a size, which does not depend on voxels
            if any(source in self.changing for source in node.all_input_nodes):
                self.changing.add(node)
                if node not in self.fused:
                    self._lower(node)

    def _lower(self, node: fx.Node) -> None:
        sources = [self.resolve(n) for n in node.all_input_nodes if n in self.changing]
        if is_identity(node) and self._known(sources[0]):
            self.aliases[node] = sources[0]
        elif functional(node.target) is operator.getitem:
            return  # lowered with the operation that returned it, if at all
        elif not self._right_dtype(node):
            if pointwise.is_inner(self, node, sources):
                self.inner.add(node)
        else:
            match = self._match(node, functional(node.target), sources)
            if match is not None:
                self._take(node, match)

    def _match(self, node: fx.Node, target: Any, sources: Sequence[fx.Node]) -> Match | None:
        """Apply the rule for the operation on maps, on vectors, or on single cells."""
        flat = [source for source in sources if source in self.flat]
        if flat:
            rule = linear.FLAT_RULES.get(target)
            return rule(self, node, flat[0]) if rule is not None else None
        through_inner = any(source in self.inner for source in sources)
        if through_inner:
            sources = pointwise.outer(self, sources)
        if not all(source in self.local for source in sources):
            return None
        local = [self.local[source] for source in sources]
        rule = None
        if not through_inner and all(local):
            rule = _ON_MAPS.get(target)
        elif not any(local):
            rule = _ON_VECTORS.get(target)
        if rule is not None:
            return rule(self, node, sources[0])
        return pointwise.match(self, node, target, sources, local)

    def _take(self, node: fx.Node, match: Match) -> None:
        for step in match.steps:
            self.steps.append(step)
            self.local[step.output] = step.local
        self.fused.update(match.covers)
        self.changing.update(match.covers)
        if match.flat is not None:
            self.flat[node] = match.flat

    def _right_dtype(self, node: fx.Node) -> bool:
        value, own = node.meta["val"], self.trace.input.meta["val"].dtype
        return (value if isinstance(value, Tensor) else value[0]).dtype == own

    def _known(self, node: fx.Node) -> bool:
        return node in self.local or node in self.flat
