"""From a traced model to the steps that recompute only what changed."""

import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx

from pyadx.inference.incremental import map_rules, vector_rules
from pyadx.inference.incremental.steps import Step
from pyadx.inference.incremental.trace import Trace, aten, functional

_DROPOUTS = {aten.dropout.default, aten.feature_dropout.default}
_IDENTITIES = {
    aten.clone.default, aten.alias.default, aten.contiguous.default, aten.detach.default,
    aten.lift_fresh_copy.default,
}  # fmt: skip


class Lowering:
    """Turns nodes into steps, in order; what it does not know stays a plain operation.

    Attributes
    ----------
    steps : list of Step
        In order; each output is computed once.
    aliases : dict
        Nodes that are another node under a second name.
    changing : set
        Nodes that depend on the scan.
    fused : set
        Nodes that a step of another node takes care of.
    flat : dict
        Flattened maps, and the maps that they are.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.steps: list[Step] = []
        self.aliases: dict[fx.Node, fx.Node] = {}
        self._local: dict[fx.Node, bool] = {trace.input: True}
        self.flat: dict[fx.Node, fx.Node] = {}
        self.changing = {trace.input}
        self.fused: set[fx.Node] = set()
        for node in trace.nodes:
            if not isinstance(node.meta.get("val"), Tensor | tuple | list):
                continue  # a size: depends on the batch, not on what is in it
            if any(source in self.changing for source in node.all_input_nodes):
                self.changing.add(node)
                if node not in self.fused:
                    self._lower(node)

    def resolve(self, node: fx.Node) -> fx.Node:
        """Return the node that holds a node's value."""
        while node in self.aliases:
            node = self.aliases[node]
        return node

    def _lower(self, node: fx.Node) -> None:
        target = functional(node.target)
        sources = [self.resolve(n) for n in node.all_input_nodes if n in self.changing]
        if _is_identity(node) and self._known(sources[0]):
            self.aliases[node] = sources[0]
            return
        if target is operator.getitem or not self._right_dtype(node):
            return  # of a batch norm's results only the map is known, which is lowered with it
        if any(source in self.flat for source in sources):
            if target is aten.linear.default:
                vector_rules.flattened_linear(self, node)
            return
        if not all(source in self._local for source in sources):
            return
        local = [self._local[source] for source in sources]
        rule = _RULES.get(target)
        if rule is not None and all(local):
            rule(self, node, *sources[:1])
        elif rule is None or not all(local):
            vector_rules.vector_or_pointwise(self, node, target, sources, local)

    def _right_dtype(self, node: fx.Node) -> bool:
        value, own = node.meta["val"], self.trace.input.meta["val"].dtype
        return (value if isinstance(value, Tensor) else value[0]).dtype == own

    def _known(self, node: fx.Node) -> bool:
        return node in self._local or node in self.flat

    def add(self, step: Step, *fused: fx.Node) -> None:
        """Take a step, which also does what other nodes say."""
        self.steps.append(step)
        self._local[step.output] = step.local
        self.fused.update(fused)
        self.changing.update(fused)

    def only_user(self, node: fx.Node) -> fx.Node | None:
        """Return the one node that reads a node, seen through identities; else None."""
        users = list(node.users)
        if len(users) != 1 or node is self.trace.output:
            return None
        if _is_identity(users[0]):
            self_alias = self.only_user(users[0])
            if self_alias is not None:
                self.aliases[users[0]] = node
                self.fused.add(users[0])
                self.changing.add(users[0])
            return self_alias
        return users[0]

    def constant(self, value: Any) -> Tensor | None:
        """Return the weight or buffer that a node stands for, or None."""
        return self.trace.constants.get(value) if isinstance(value, fx.Node) else None


def _is_identity(node: fx.Node) -> bool:
    """Whether a node is its input under another name; dropout in training mode is not."""
    target = functional(node.target)
    return target in _IDENTITIES or (target in _DROPOUTS and not node.args[2])


_RULES: dict[Any, Callable[[Lowering, fx.Node, fx.Node], None]] = {
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
    **dict.fromkeys(vector_rules.RESHAPES, vector_rules.reshape),
}
