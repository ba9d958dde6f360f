"""Channels that are selected or reordered, and space to depth: blocks of cells that become channels."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step
from pyadx.inference.incremental.trace import aten, functional
from pyadx.ops import patches


class Channels(Step):
    """A selection of a map's channels, or all of them in another order."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, picked: Tensor) -> None:
        """Take the source channel of every output channel, int64 ``[K]``, as ``picked``."""
        super().__init__(output, [source])
        self.picked = picked.to(source.meta["val"].device)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Select the channels of the changes."""
        out = batch.new(self.output, self.channels)
        torch.index_select(inputs[0].data, 4, self.picked, out=out)
        return Patch(out, inputs[0].boxes)


class SpaceToDepth(Step):
    """Blocks of cells that become channels: ``[C, D, H, W]`` to ``[C s^3, D/s, H/s, W/s]``."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, block: bx.Triple, picked: Tensor) -> None:
        """Take the index of every output channel in ``block x source channels``, int64 ``[K]``."""
        super().__init__(output, [source])
        self.picked = picked.to(source.meta["val"].device)
        self.window = bx.Window(block, block, (0, 0, 0), (1, 1, 1))

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of outputs whose block has a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return the frames of inputs, which are made of whole blocks."""
        return [bx.input_frames(out_boxes, self.window)]

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the elements of the frames, and of their copy with blocks as channels."""
        return 2 * prod(slots[self.output]) * prod(self.window.kernel) * self._given

    @property
    def _given(self) -> int:
        """Number of channels of the source."""
        return int(self.inputs[0].meta["val"].shape[1])

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Cut out frames, turn the cells of a block into channels, and select the channels."""
        (z, y, x), (a, b, c) = batch.slots[self.output], self.window.kernel
        frames = batch.workspace.take(batch.size, z * a, y * b, x * c, self._given)
        patches.gather(batch.tables[self.output][0], frames, patches=inputs[0].data, boxes=inputs[0].boxes)
        blocks = frames.reshape(batch.size, z, a, y, b, x, c, self._given)
        blocks = blocks.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch.size, z, y, x, -1)
        out = batch.new(self.output, self.channels)
        torch.index_select(blocks, 4, self.picked, out=out)
        batch.workspace.give(frames)
        return Patch(out, batch.boxes[self.output])


def from_views(low: Lowered, source: fx.Node, last: fx.Node, chain: Sequence[fx.Node]) -> Step | None:
    """Return the step of a chain of views that only moves channels, or turns blocks of cells into channels.

    The views are run on a map of numbered cells, which shows where each cell goes.

    Parameters
    ----------
    low : Lowered
        The network while it is lowered.
    source, last : fx.Node
        The map that the chain starts from, and the map that it ends with.
    chain : sequence of fx.Node
        The views, in order.

    Returns
    -------
    Step or None
        None if the views do anything else.
    """
    before, after = source.meta["val"], last.meta["val"]
    if after.dim() != 5:
        return None
    size = [int(n) for n in before.shape[1:]]
    numbered = torch.arange(torch.Size(size).numel()).reshape(1, *size)
    moved = _followed(numbered, source, chain, low)
    if moved is None:
        return None
    if before.shape[2:] != after.shape[2:]:
        return _blocks(source, last, moved)
    cells = torch.Size(size[1:]).numel()
    index = moved.reshape(moved.shape[1], -1)
    picked = index[:, 0] // cells
    if not torch.equal(index, picked[:, None] * cells + torch.arange(cells)):
        return None
    return Channels(last, source, picked)


def _blocks(source: fx.Node, last: fx.Node, moved: Tensor) -> Step | None:
    """Return the step of views that turn blocks of cells into channels, or None."""
    given, made = ([int(n) for n in node.meta["val"].shape[1:]] for node in (source, last))
    if any(a % b for a, b in zip(given[1:], made[1:], strict=True)):
        return None
    z, y, x = (a // b for a, b in zip(given[1:], made[1:], strict=True))
    cells = torch.Size(given[1:]).numel()
    at = moved.reshape(made)
    channel, rest = at // cells, at % cells
    places = [rest // (given[2] * given[3]), rest // given[3] % given[2], rest % given[3]]
    grids = torch.meshgrid(*(torch.arange(n) for n in made[1:]), indexing="ij")
    inner = [place - grid * n for place, grid, n in zip(places, grids, (z, y, x), strict=True)]
    columns = torch.stack([channel, *inner]).reshape(4, made[0], -1)
    if not torch.equal(columns, columns[..., :1].expand_as(columns)):
        return None  # a channel takes different cells from different blocks
    own, a, b, c = columns[..., 0]
    if not all(bool(((v >= 0) & (v < n)).all()) for v, n in zip((a, b, c), (z, y, x), strict=True)):
        return None
    picked = ((a * y + b) * x + c) * given[0] + own
    return SpaceToDepth(last, source, (z, y, x), picked)


def _followed(value: Tensor, source: fx.Node, chain: Sequence[fx.Node], low: Lowered) -> Tensor | None:
    """Run a chain of views on one map of numbered cells; None if an operand is not known."""
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
