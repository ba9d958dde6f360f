"""How views become steps: crops, mirrored axes, and channels that are picked, reordered or split."""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from pyadx.inference.incremental import axis_rules
from pyadx.inference.incremental.axis_steps import SpaceToDepth, Transpose
from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.map_steps import Shift
from pyadx.inference.incremental.trace import aten, functional, with_defaults
from pyadx.inference.incremental.view_steps import Channels, Flip

VIEWS = {
    aten.slice.Tensor, aten.flip.default, aten.channel_shuffle.default, aten.index_select.default,
    aten.narrow.default, aten.native_channel_shuffle.default, aten.permute.default, aten.transpose.int,
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
    if target in (aten.permute.default, aten.transpose.int):
        if not _transposed(low, node, source):
            reshape(low, node, source)
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
    if not isinstance(axis, int) or axis % 5 < 2 or values[1].dim() != 5:
        return False
    if step != 1:
        return axis_rules.strided_slice(low, node, source)
    size = int(values[0].shape[axis])
    first = 0 if start is None else int(start)
    first = max(first + size, 0) if first < 0 else min(first, size)
    offset = [0, 0, 0]
    offset[axis % 5 - 2] = -first
    low.add(Shift(node, source, (offset[0], offset[1], offset[2])))
    return True


def _transposed(low: Lowered, node: fx.Node, source: fx.Node) -> bool:
    """Take spatial axes that change places."""
    order = torch.arange(5)
    if functional(node.target) is aten.permute.default:
        axes: Any = node.args[1]
        moved = [int(axis) % 5 for axis in axes]
    else:
        first, second = (int(axis) % 5 for axis in node.args[1:3])  # type: ignore[arg-type]
        order[[first, second]] = order[[second, first]]
        moved = order.tolist()
    if moved[:2] != [0, 1] or node.meta["val"].dim() != 5:
        return False
    low.add(Transpose(node, source, (moved[2] - 2, moved[3] - 2, moved[4] - 2)))
    return True


def _blocks(low: Lowered, source: fx.Node, last: fx.Node, moved: Tensor, chain: list[fx.Node]) -> None:
    """Take views that lay blocks of cells into channels."""
    given, made = ([int(n) for n in node.meta["val"].shape[1:]] for node in (source, last))
    if any(a % b for a, b in zip(given[1:], made[1:], strict=True)):
        return
    z, y, x = (a // b for a, b in zip(given[1:], made[1:], strict=True))
    cells = torch.Size(given[1:]).numel()
    at = moved.reshape(made)
    channel, rest = at // cells, at % cells
    places = [rest // (given[2] * given[3]), rest // given[3] % given[2], rest % given[3]]
    grids = torch.meshgrid(*(torch.arange(n) for n in made[1:]), indexing="ij")
    inner = [place - grid * n for place, grid, n in zip(places, grids, (z, y, x), strict=True)]
    columns = torch.stack([channel, *inner]).reshape(4, made[0], -1)
    if not torch.equal(columns, columns[..., :1].expand_as(columns)):
        return  # a cell's place in its block differs from block to block
    own, a, b, c = columns[..., 0]
    if not all(bool(((v >= 0) & (v < n)).all()) for v, n in zip((a, b, c), (z, y, x), strict=True)):
        return
    picked = ((a * y + b) * x + c) * given[0] + own
    low.add(SpaceToDepth(last, source, (z, y, x), picked), *chain)


def _channels(low: Lowered, source: fx.Node, last: fx.Node, chain: list[fx.Node]) -> None:
    """Take views that leave every cell where it is: found by looking where numbered cells go."""
    before, after = source.meta["val"], last.meta["val"]
    if after.dim() != 5:
        return
    size = [int(n) for n in before.shape[1:]]
    numbered = torch.arange(torch.Size(size).numel()).reshape(1, *size)
    moved = _followed(numbered, source, chain, low)
    if moved is None:
        return
    if before.shape[2:] != after.shape[2:]:
        _blocks(low, source, last, moved, chain)
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
