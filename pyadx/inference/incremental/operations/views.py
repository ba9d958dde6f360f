"""Views: mirrored and exchanged axes; channels that are selected, reordered or split; space to depth."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.operations import padding
from pyadx.inference.incremental.operations.channels import from_views
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step, VectorStep
from pyadx.inference.incremental.trace import aten, functional
from pyadx.ops import patches

_RESHAPES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten._unsafe_view.default,
    aten.squeeze.dims, aten.squeeze.dim, aten.squeeze.default,
}  # fmt: skip
_VIEWS = {
    aten.slice.Tensor, aten.flip.default, aten.channel_shuffle.default, aten.index_select.default,
    aten.narrow.default, aten.native_channel_shuffle.default, aten.permute.default, aten.transpose.int,
}  # fmt: skip

_SPLITS = {
    aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.tensor_split.sections,
}  # fmt: skip

_REARRANGING = {
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.permute.default,
    aten.transpose.int, aten.clone.default, aten.contiguous.default, aten.flatten.using_ints,
    aten.unflatten.int,
}  # fmt: skip


class Flip(Step):
    """A map mirrored along axes."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, axes: Sequence[int]) -> None:
        """Take the axes to mirror; 0 is the first spatial axis."""
        super().__init__(output, [source])
        self.axes = tuple(axes)

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Mirror the boxes."""
        found = boxes[0].copy()
        for axis in self.axes:
            found[:, axis] = self.size[axis] - boxes[0][:, axis + 3]
            found[:, axis + 3] = self.size[axis] - boxes[0][:, axis]
        found[(boxes[0][:, 3:] <= boxes[0][:, :3]).any(1)] = 0
        return found

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return the boxes within mirrored slots, where a box is at the end of its slot, and the slots."""
        lengths = boxes[0][:, 3:] - boxes[0][:, :3]
        slot = lengths.max(0, initial=1)
        low = np.zeros_like(lengths)
        low[:, self.axes] = (slot - lengths)[:, self.axes]
        whole = np.broadcast_to(np.concatenate([np.zeros(3, np.int32), slot]), boxes[0].shape)
        return [np.concatenate([low, low + lengths], 1).astype(np.int32), whole.astype(np.int32)]

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Mirror the slots, and cut the boxes out of them."""
        out = batch.new(self.output, self.channels)
        mirrored = inputs[0].data.flip([axis + 1 for axis in self.axes]).contiguous()
        frames, whole = batch.tables[self.output]
        patches.gather(frames, out, patches=mirrored, boxes=whole)
        return Patch(out, batch.boxes[self.output])


class Transpose(Step):
    """A map with its spatial axes in another order."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, order: bx.Triple) -> None:
        """Take the source axis of every spatial axis as ``order``; 0 is the first spatial axis."""
        super().__init__(output, [source])
        self.order = order

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Reorder the axes of the boxes."""
        axes = [*self.order, *(axis + 3 for axis in self.order)]
        return np.ascontiguousarray(boxes[0][:, axes])

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Reorder the axes of the changes."""
        turned = inputs[0].data.permute(0, *(axis + 1 for axis in self.order), 4).contiguous()
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        patches.place(turned, out_boxes, out_boxes, out, add=False)
        return Patch(out, out_boxes)


class Reshape(VectorStep):
    """The same values in another shape, after the last map."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node) -> None:
        super().__init__(output, [source])
        self.shape = tuple(int(n) for n in output.meta["val"].shape[1:])

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """Return a view."""
        return inputs[0].reshape(batch.size, *self.shape)


def reshape(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a flattened map for a linear layer, or a chain of views such as a channel shuffle."""
    shape = source.meta["val"].shape
    if node.meta["val"].dim() == 2 and node.meta["val"].shape[1] == shape[1:].numel():
        return Match(flat=source)
    last = node
    chain = [node]
    while last.meta["val"].dim() != 5 or last is node:
        users = list(last.users)
        if len(users) != 1 or functional(users[0].target) not in _REARRANGING:
            return None
        last = users[0]
        chain.append(last)
    return _as_match(from_views(low, source, last, chain), chain)


def view(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a mirrored axis, a crop, reordered axes, or selected channels."""
    target = functional(node.target)
    if target is aten.flip.default:
        axes: Any = node.args[1]
        axes = {axis % 5 for axis in axes}
        if axes <= {2, 3, 4}:
            return Match(Flip(node, source, tuple(axis - 2 for axis in sorted(axes))))
    if target is aten.slice.Tensor:
        found = padding.crop(low, node, source)
        if found is not None:
            return found
    if target in (aten.permute.default, aten.transpose.int):
        return _transposed(node, source) or reshape(low, node, source)
    return _as_match(from_views(low, source, node, [node]), [node])


def split(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a split of channels: one step for every part."""
    users = [user for user in node.users if user.target is operator.getitem]
    steps = [from_views(low, source, user, [node, user]) for user in users]
    return Match(*(step for step in steps if step is not None))


def _transposed(node: fx.Node, source: fx.Node) -> Match | None:
    """Match spatial axes in another order."""
    order = torch.arange(5)
    if functional(node.target) is aten.permute.default:
        axes: Any = node.args[1]
        moved = [int(axis) % 5 for axis in axes]
    else:
        first, second = (int(axis) % 5 for axis in node.args[1:3])  # type: ignore[arg-type]
        order[[first, second]] = order[[second, first]]
        moved = order.tolist()
    if moved[:2] != [0, 1] or node.meta["val"].dim() != 5:
        return None
    return Match(Transpose(node, source, (moved[2] - 2, moved[3] - 2, moved[4] - 2)))


def _as_match(step: Step | None, chain: Sequence[fx.Node]) -> Match | None:
    return None if step is None else Match(step, covers=chain)


def on_vectors(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a view after the last map."""
    if node.meta["val"].shape[:1] != source.meta["val"].shape[:1]:
        return None
    return Match(Reshape(node, source))


MAP_RULES: Rules = {
    **dict.fromkeys(_RESHAPES, reshape),
    **dict.fromkeys(_VIEWS, view),
    **dict.fromkeys(_SPLITS, split),
}
VECTOR_RULES: Rules = dict.fromkeys(_RESHAPES, on_vectors)
