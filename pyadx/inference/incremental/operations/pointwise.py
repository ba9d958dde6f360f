"""Operations on single cells of maps, or on single values, recognised by torch's tag and by shape."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import CASTS, Lowered, Match
from pyadx.inference.incremental.spread import is_singular
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    VectorStep,
    channels_first,
    channels_innermost,
)
from pyadx.inference.incremental.trace import aten, functional
from pyadx.ops import patches

# Pointwise operations without torch's tag.
_UNTAGGED = {
    aten.selu.default, aten.relu6.default, aten.square.default, aten.prelu.default,
    aten.log_sigmoid.default, aten.hardswish.default, aten.hardsigmoid.default, aten.rrelu.default,
    aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar,
    aten.__and__.Tensor, aten.__or__.Tensor, aten.__xor__.Tensor, aten.zeros_like.default,
    aten.ones_like.default, aten.full_like.default,
}  # fmt: skip

# Operations over the channels of a cell, with the index of the axis among their arguments.
_OVER_CHANNELS = {
    aten.glu.default: 1, aten.softmax.int: 1, aten.log_softmax.int: 1, aten.mean.dim: 1,
    aten.sum.dim_IntList: 1, aten.amax.default: 1, aten.amin.default: 1, aten.cumsum.default: 1,
}  # fmt: skip

_PER_CHANNEL = {aten.prelu.default}  # their weight belongs to the channels, whatever its shape

Values = Sequence[Tensor]


class Pointwise(Step):
    """Any operation on single cells of its maps. Its change is ``f(before + change) - f(before)``.

    Parameters
    ----------
    output : fx.Node
        Result.
    maps : sequence of fx.Node
        The maps that change.
    function : callable
        Computes the operation from its maps ``[B, C, D, H, W]``: first ``maps``, then ``still``.
    singular : bool
        Whether zero and almost zero give very different results, as for a logarithm or a quotient.
    still : sequence of Tensor
        Constant maps, ``[D, H, W, C]``.
    """

    def __init__(
        self,
        output: fx.Node,
        maps: Sequence[fx.Node],
        function: Callable[[Sequence[Tensor]], Tensor],
        singular: bool = False,
        still: Sequence[Tensor] = (),
    ) -> None:
        super().__init__(output, maps, maps)
        self.function = function
        self.singular = singular
        self.still = [own.to(output.meta["val"].dtype) for own in still]

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes around all maps."""
        return bx.union(boxes)

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the elements of all operands and results, before and after."""
        channels = sum(int(node.meta["val"].shape[1]) for node in self.inputs)
        channels += sum(own.shape[-1] for own in self.still)
        return 2 * prod(slots[self.output]) * (channels + self.channels)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Evaluate the operation twice. Entries beyond the box are ones, which are safe to divide by."""
        out_boxes = batch.boxes[self.output]
        values: list[list[Tensor]] = [[], []]
        for patch, node in zip(inputs, self.before, strict=True):
            for kept, laid in zip(values, (None, patch), strict=True):
                taken = batch.workspace.take(batch.size, *batch.slots[self.output], patch.data.shape[-1])
                patches.gather(
                    out_boxes, taken, source=maps[node], pad=1.0,
                    patches=None if laid is None else laid.data, boxes=None if laid is None else laid.boxes,
                )  # fmt: skip
                kept.append(taken)
        if self.singular:
            batch.doubt_rounding(*values)
        still = [self._cut(batch, own) for own in self.still]
        before, after = (self.function([channels_first(v) for v in (*side, *still)]) for side in values)
        batch.doubt_infinite(*values[1], channels_innermost(before))
        change = channels_innermost(after - before)
        for taken in (*values[0], *values[1], *still):
            batch.workspace.give(taken)
        return Patch(change, out_boxes)

    def _cut(self, batch: Batch, still: Tensor) -> Tensor:
        """Cut the output boxes out of a constant map."""
        taken = batch.workspace.take(batch.size, *batch.slots[self.output], still.shape[-1])
        return patches.gather(batch.boxes[self.output], taken, source=still, pad=1.0)


class VectorPointwise(VectorStep):
    """Any operation on single values after the last map. Its change is ``f(before + change) - f(before)``.

    ``singular`` says whether zero and almost zero give very different results, as for a logarithm.
    """

    def __init__(
        self,
        output: fx.Node,
        inputs: Sequence[fx.Node],
        function: Callable[[Sequence[Tensor]], Tensor],
        singular: bool = False,
    ) -> None:
        super().__init__(output, inputs, inputs)
        self.function = function
        self.singular = singular

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """Evaluate the operation before and after the change."""
        before = [maps[node] for node in self.before]
        after = [b + change for b, change in zip(before, inputs, strict=True)]
        if self.singular:
            batch.doubt_rounding(before, after)
        kept = self.function(before)
        batch.doubt_infinite(*after, kept)
        return self.function(after) - kept


def match(
    low: Lowered, node: fx.Node, target: Any, sources: Sequence[fx.Node], local: Sequence[bool]
) -> Match | None:
    """Match an operation on single cells of maps, or on single values after the last map."""
    value = node.meta["val"]
    if not is_pointwise(node) or not _readable(low, node):
        return None
    shapes = [source.meta["val"].shape for source in sources]
    singular = is_singular(node, low.changing)
    if all(local) and value.dim() == 5 and all(shape[2:] == value.shape[2:] for shape in shapes):
        still = _still(low, node, value.shape)
        if still is not None:
            operation = _function(low, node, sources, list(still))
            return Match(Pointwise(node, sources, operation, singular, list(still.values())))
    elif not any(local) and all(shape == value.shape for shape in shapes):
        return Match(VectorPointwise(node, sources, _function(low, node, sources), singular))
    return None


def is_inner(low: Lowered, node: fx.Node, sources: Sequence[fx.Node]) -> bool:
    """Whether the readers of a node with another dtype, such as a comparison, can evaluate it again."""
    value = node.meta["val"]
    if not isinstance(value, Tensor) or not is_pointwise(node) or not _readable(low, node):
        return False
    known = all(source in low.inner or low.local.get(source, False) for source in sources)
    return known and value.dim() == 5 and _still(low, node, value.shape) is not None


def outer(low: Lowered, sources: Sequence[fx.Node]) -> list[fx.Node]:
    """Return the maps that nodes are computed from, skipping inner nodes (see `Lowered`)."""
    found: list[fx.Node] = []
    for source in sources:
        own = [source]
        if source in low.inner:
            own = outer(low, [low.resolve(n) for n in source.all_input_nodes if n in low.changing])
        found += [node for node in own if node not in found]
    return found


def is_pointwise(node: fx.Node) -> bool:
    """Whether every cell of the result depends only on the same cell of the operands."""
    target: Any = functional(node.target)
    if target in _OVER_CHANNELS:
        place = _OVER_CHANNELS[target]
        given: Any = node.args[place] if len(node.args) > place else -1
        axes = list(given) if isinstance(given, list | tuple) else [given]
        return node.meta["val"].dim() == 5 and [axis % 5 for axis in axes] == [1]
    tags = getattr(target, "tags", ())
    if target is aten.rrelu.default:
        return not (len(node.args) > 3 and node.args[3])
    known = torch.Tag.pointwise in tags or target in _UNTAGGED or target in CASTS
    return known and torch.Tag.nondeterministic_seeded not in tags


def _readable(low: Lowered, node: fx.Node) -> bool:
    """Whether all operands depend on the scan or are constant; a covariate repeated per scan is neither."""
    return all(n in low.changing or n in low.trace.constants for n in node.all_input_nodes)


def _still(low: Lowered, node: fx.Node, shape: Sequence[Any]) -> dict[fx.Node, Tensor] | None:
    """Return constant operands that vary over cells, ``[D, H, W, C]`` each; None if one does not fit."""
    found = {}
    inside = [n for n in node.all_input_nodes if n in low.inner]
    for operand in node.all_input_nodes:
        constant = low.constant(operand)
        if operand in low.changing or functional(node.target) in _PER_CHANNEL:
            continue
        if constant is None or constant.dim() > 5:
            return None
        whole = constant.reshape(*[1] * (5 - constant.dim()), *constant.shape)
        if whole.shape[0] != 1 or any(
            n not in (1, m) for n, m in zip(whole.shape[2:], shape[2:], strict=True)
        ):
            return None
        if any(n != 1 for n in whole.shape[2:]):
            size = [int(n) for n in shape[2:]]
            found[operand] = channels_innermost(whole.expand(-1, -1, *size))[0]
    for own in inside:
        more = _still(low, own, shape)
        if more is None:
            return None
        found |= more
    return found


def _function(
    low: Lowered, node: fx.Node, sources: Sequence[fx.Node], still: Sequence[fx.Node] = ()
) -> Callable[[Values], Tensor]:
    """Return an operation as a function of the maps in ``sources`` and the constant maps in ``still``."""
    place = {source: index for index, source in enumerate([*sources, *still])}
    constants, resolve, inner = low.trace.constants, low.resolve, frozenset(low.inner)

    def function(values: Values) -> Tensor:
        def operand(n: fx.Node) -> Any:
            if n in constants:
                return values[place[n]].to(constants[n].dtype) if n in place else constants[n]
            own = resolve(n)
            return evaluate(own) if own in inner else values[place[own]]

        def evaluate(n: fx.Node) -> Any:
            target: Any = functional(n.target)
            return target(*fx.map_arg(n.args, operand), **fx.map_arg(n.kwargs, operand))

        result: Tensor = evaluate(node)
        return result

    return function
