"""How views become steps: crops, mirrored axes, and channels that are picked, reordered or split."""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.map_steps import Shift
from pyadx.inference.incremental.trace import aten, functional, with_defaults
from pyadx.inference.incremental.view_steps import Channels, Flip

VIEWS = {
    aten.slice.Tensor, aten.flip.default, aten.channel_shuffle.default, aten.index_select.default,
    aten.narrow.default, aten.native_channel_shuffle.default,
}  # fmt: skip
SPLITS = {
    aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.tensor_split.sections,
}  # fmt: skip
_REARRANGING = {
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.permute.default,
    aten.transpose.int, aten.clone.default, aten.contiguous.default, aten.flatten.using_ints,
    aten.unflatten.int,
}  # fmt: skip


def reshape(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Take a flattened map, which a linear layer may take, or the first view of a channel shuffle."""
    shape = source.meta["val"].shape
    if node.meta["val"].dim() == 2 and node.meta["val"].shape[1] == shape[1:].numel():
        low.flat[node] = source
        return
    last = node
    chain = [node]
    while last.meta["val"].dim() != 5 or last is node:
        users = list(last.users)
        if len(users) != 1 or functional(users[0].target) not in _REARRANGING:
            return
        last = users[0]
        chain.append(last)
    _channels(low, source, last, chain)


def view(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Take a crop, a mirrored axis, or channels that are picked."""
    target = functional(node.target)
    if target is aten.flip.default:
        axes: Any = node.args[1]
        axes = {axis % 5 for axis in axes}
        if axes <= {2, 3, 4}:
            low.add(Flip(node, source, tuple(axis - 2 for axis in sorted(axes))))
            return
    if target is aten.slice.Tensor and _crop(low, node, source):
        return
    _channels(low, source, node, [node])


def split(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Take channels that go different ways."""
    for user in node.users:
        if user.target is operator.getitem:
            _channels(low, source, user, [node, user])


def _crop(low: Lowered, node: fx.Node, source: fx.Node) -> bool:
    axis, start, _, step = with_defaults(node.args[1:], [0, 0, None, 1])
    values = [source.meta["val"], node.meta["val"]]
    if step != 1 or not isinstance(axis, int) or axis % 5 < 2 or values[1].dim() != 5:
        return False
    size = int(values[0].shape[axis])
    first = 0 if start is None else int(start)
    first = max(first + size, 0) if first < 0 else min(first, size)
    offset = [0, 0, 0]
    offset[axis % 5 - 2] = -first
    low.add(Shift(node, source, (offset[0], offset[1], offset[2])))
    return True


def _channels(low: Lowered, source: fx.Node, last: fx.Node, chain: list[fx.Node]) -> None:
    """Take views that leave every cell where it is: found by looking where numbered cells go."""
    before, after = source.meta["val"], last.meta["val"]
    if after.dim() != 5 or before.shape[2:] != after.shape[2:]:
        return
    size = [int(n) for n in before.shape[1:]]
    numbered = torch.arange(torch.Size(size).numel()).reshape(1, *size)
    moved = _followed(numbered, source, chain, low)
    if moved is None:
        return
    cells = torch.Size(size[1:]).numel()
    index = moved.reshape(moved.shape[1], -1)
    picked = index[:, 0] // cells
    if not torch.equal(index, picked[:, None] * cells + torch.arange(cells)):
        return
    low.add(Channels(last, source, picked), *chain)


def _followed(value: Tensor, source: fx.Node, chain: list[fx.Node], low: Lowered) -> Tensor | None:
    """Run a chain of views on one numbered scan; None where they ask for what is not known."""
    found: Any = value
    reading = {source}

    def operand(n: fx.Node) -> Any:
        if low.resolve(n) in reading:
            return found
        if n in low.trace.constants:
            return low.trace.constants[n].cpu()
        if functional(n.target) is aten.sym_size.int and n.args[1] == 0:
            return 1
        raise LookupError

    try:
        for node in chain:
            target: Any = functional(node.target) or node.target
            target = (
                aten.reshape.default if target in (aten.view.default, aten._unsafe_view.default) else target
            )
            found = target(*fx.map_arg(node.args, operand), **fx.map_arg(node.kwargs, operand))
            reading = {node}
    except (LookupError, RuntimeError, TypeError):
        return None
    return found if isinstance(found, Tensor) else None
