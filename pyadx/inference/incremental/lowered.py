"""The state of a traced model while it is lowered to steps, and what the rules that lower it return."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx

from pyadx.inference.incremental.steps import Step
from pyadx.inference.incremental.trace import Trace, aten, functional

_DROPOUTS = {
    aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
}  # fmt: skip
_IDENTITIES = {
    aten.clone.default, aten.alias.default, aten.contiguous.default, aten.detach.default,
    aten.lift_fresh_copy.default,
}  # fmt: skip

CASTS = {
    aten.to.dtype, aten.to.device, aten.to.dtype_layout, aten.to.other, aten._to_copy.default,
    aten.type_as.default,
}  # fmt: skip
_SAME_IF_ALIKE = {*CASTS, aten.expand.default, aten.slice.Tensor}


class Match:
    """What a rule returns for a node that it recognises.

    Attributes
    ----------
    steps : tuple of Step
        Usually one. Their outputs may be nodes that follow the recognised one.
    covers : tuple of fx.Node
        Nodes that these steps compute, and that need no step of their own.
    flat : fx.Node, optional
        The map that the node flattens. There is no step then; a linear layer that follows makes one.
    """

    def __init__(self, *steps: Step, covers: Sequence[fx.Node] = (), flat: fx.Node | None = None) -> None:
        self.steps = steps
        self.covers = (*covers, *(step.output for step in steps))
        self.flat = flat


class Lowered:
    """The steps that nodes have become so far, and what is known of the other nodes. Rules only read it.

    Attributes
    ----------
    trace : Trace
        The traced model.
    steps : list of Step
        In order; each output is computed once.
    aliases : dict
        For nodes that have the value of another node: that node.
    changing : set
        Nodes that depend on the scan.
    fused : set
        Nodes that the step of another node computes.
    flat : dict
        For flattened maps: the map.
    local : dict
        For nodes that steps compute: whether they are maps (otherwise vectors).
    inner : set
        Nodes that look at single cells and have no step, such as comparisons. Steps that read them evaluate
        them again.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.steps: list[Step] = []
        self.aliases: dict[fx.Node, fx.Node] = {}
        self.local: dict[fx.Node, bool] = {trace.input: True}
        self.flat: dict[fx.Node, fx.Node] = {}
        self.changing = {trace.input}
        self.fused: set[fx.Node] = set()
        self.inner: set[fx.Node] = set()

    def resolve(self, node: fx.Node) -> fx.Node:
        """Return the node that an alias stands for, or the node itself."""
        while node in self.aliases:
            node = self.aliases[node]
        return node

    def names(self, nodes: Iterable[fx.Node]) -> dict[fx.Node, fx.Node]:
        """Map every alias of the nodes, and the nodes themselves, to the nodes."""
        own = {node: node for node in nodes}
        return own | {a: own[n] for a in self.aliases if (n := self.resolve(a)) in own}

    def only_user(self, node: fx.Node) -> fx.Node | None:
        """Return the only node that reads a node, skipping identities; None unless there is exactly one."""
        users = list(node.users)
        if len(users) != 1 or node is self.trace.output:
            return None
        return self.only_user(users[0]) if is_identity(users[0]) else users[0]

    def constant(self, value: Any) -> Tensor | None:
        """Return the weight or buffer that a node stands for, or None."""
        return self.trace.constants.get(value) if isinstance(value, fx.Node) else None


Rule = Callable[[Lowered, fx.Node, fx.Node], Match | None]
"""Takes the state, a node, and its first operand that depends on the scan; returns a match or None."""
Rules = Mapping[Any, Rule]


def is_identity(node: fx.Node) -> bool:
    """Whether a node returns its input unchanged.

    That includes casts to the same dtype and slices of everything, but not dropout in training mode.
    """
    target = functional(node.target)
    if target in _DROPOUTS:
        return not node.args[2]
    return target in _IDENTITIES or (target in _SAME_IF_ALIKE and _alike(node))


def _alike(node: fx.Node) -> bool:
    value, source = node.meta.get("val"), node.args[0]
    before = source.meta.get("val") if isinstance(source, fx.Node) else None
    if not (isinstance(value, Tensor) and isinstance(before, Tensor)):
        return False
    kind = (value.dtype, value.device, value.shape[1:])
    if functional(node.target) is aten.slice.Tensor and node.args[1:2] in ((), (0,)):
        return False  # slices the batch
    return kind == (before.dtype, before.device, before.shape[1:]) and value.dim() == before.dim()
