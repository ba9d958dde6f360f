"""What rules know of a traced model that becomes steps, and what they answer."""

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
    """What a rule makes of a node.

    Attributes
    ----------
    steps : tuple of Step
        Often one; their outputs may be later nodes.
    covers : tuple of fx.Node
        Nodes that need no step of their own any more.
    flat : fx.Node, optional
        The map that the node is when flattened, of which a linear layer may make a step.
    """

    def __init__(self, *steps: Step, covers: Sequence[fx.Node] = (), flat: fx.Node | None = None) -> None:
        self.steps = steps
        self.covers = (*covers, *(step.output for step in steps))
        self.flat = flat


class Lowered:
    """The steps that nodes have become so far, and what is known of the others. Rules only read it.

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
    local : dict
        Nodes that steps know, and whether they are maps.
    inner : set
        Nodes that look at single cells and are worked out again by whoever reads them, such as comparisons.
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
        """Return the node that holds a node's value."""
        while node in self.aliases:
            node = self.aliases[node]
        return node

    def names(self, nodes: Iterable[fx.Node]) -> dict[fx.Node, fx.Node]:
        """Return every name that nodes go by, their own included, and the node that it stands for."""
        own = {node: node for node in nodes}
        return own | {a: own[n] for a in self.aliases if (n := self.resolve(a)) in own}

    def only_user(self, node: fx.Node) -> fx.Node | None:
        """Return the one node that reads a node, seen through identities; else None."""
        users = list(node.users)
        if len(users) != 1 or node is self.trace.output:
            return None
        return self.only_user(users[0]) if is_identity(users[0]) else users[0]

    def constant(self, value: Any) -> Tensor | None:
        """Return the weight or buffer that a node stands for, or None."""
        return self.trace.constants.get(value) if isinstance(value, fx.Node) else None


Rule = Callable[[Lowered, fx.Node, fx.Node], Match | None]
"""What a rule is: from what is known, a node and its first operand that changes, to a match."""
Rules = Mapping[Any, Rule]


def is_identity(node: fx.Node) -> bool:
    """Whether a node is its input under another name: also a cast to the type it has, and a whole slice.

    Dropout in training mode is none.
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
        return False  # of the batch
    return kind == (before.dtype, before.device, before.shape[1:]) and value.dim() == before.dim()
