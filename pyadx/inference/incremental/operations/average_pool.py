"""Average pooling: over windows, adaptive, and global."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.operations import pointwise, resampling
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    channels_first,
    channels_innermost,
    map_size,
)
from pyadx.inference.incremental.trace import aten, per_axis, with_defaults
from pyadx.ops import patches


class AveragePool(Step):
    """An average pooling: changes are summed over windows, and divided as the network divides."""

    linear = True

    def __init__(
        self,
        output: fx.Node,
        source: fx.Node,
        window: bx.Window,
        share: Tensor,
    ) -> None:
        """Take the weight of one input cell in every output, ``[D, H, W, 1]``, as ``share``."""
        super().__init__(output, [source])
        self.window = window
        self.share = share

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of outputs whose window meets a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return the frames of inputs that are pooled."""
        return [bx.input_frames(out_boxes, self.window)]

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the elements of the frames, their sums, and the shares."""
        out = slots[self.output]
        return (prod(bx.frame_size(out, self.window)) + prod(out)) * self.channels + prod(out)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Cut frames of zeros and changes that align with the windows, sum them, and divide."""
        source, out_boxes = inputs[0], batch.boxes[self.output]
        slot = batch.slots[self.output]
        size = bx.frame_size(slot, self.window)
        frames = batch.workspace.take(batch.size, *size, self.channels)
        patches.gather(
            batch.tables[self.output][0], frames,
            patches=source.data, boxes=source.boxes,
        )  # fmt: skip
        kernel, stride = self.window.kernel, self.window.stride
        sums = F.avg_pool3d(channels_first(frames), kernel, stride, divisor_override=1)
        batch.workspace.give(frames)
        share = batch.workspace.take(batch.size, *slot, 1)
        patches.gather(out_boxes, share, source=self.share)
        out = batch.new(self.output, self.channels)
        torch.mul(channels_innermost(sums), share, out=out)
        out.masked_fill_(share == 0, 0)  # beyond the box, where sums may be infinite
        batch.workspace.give(share)
        return Patch(out, out_boxes)


class GlobalAverage(Step):
    """Global average pooling: the sum of the changes, divided by the number of cells."""

    local = False
    boxed = False
    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, shape: Sequence[int]) -> None:
        super().__init__(output, [source])
        self.shape = tuple(shape)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Tensor:
        """Return the change of the averages, ``[B, C, ...]``."""
        source = inputs[0]
        sums = source.data.new_empty(batch.size, source.data.shape[-1])
        patches.total(source.data, source.boxes, sums)
        cells = float(np.prod(self.inputs[0].meta["val"].shape[2:]))
        return (sums / cells).reshape(batch.size, *self.shape)


def average_pool(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match an average pooling, with the padding and the divisor of the network."""
    kernel, stride, padding, ceil, include, divisor = with_defaults(
        node.args[1:], [None, [], 0, False, True, None]
    )
    window = bx.Window(per_axis(kernel), per_axis(stride or kernel), per_axis(padding), (1, 1, 1))
    # The average of ones is the number of cells in the window divided by the divisor. That holds for every
    # window, also with padding or across the border.
    value = source.meta["val"]
    ones = torch.ones(1, 1, *map_size(source), dtype=value.dtype, device=value.device)
    sizes = (window.kernel, window.stride, window.padding, ceil)
    averages = F.avg_pool3d(ones, *sizes, include, divisor)
    counts = F.avg_pool3d(ones, *sizes, True, 1)
    share = torch.where(counts > 0, averages / counts.clamp(min=1), 0)[0].permute(1, 2, 3, 0)
    return Match(AveragePool(node, source, window, share.contiguous()))


def adaptive_average_pool(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match global or adaptive average pooling."""
    sizes: Any = node.args[1]
    if list(sizes) in ([1], [1, 1, 1]):
        return Match(GlobalAverage(node, source, node.meta["val"].shape[1:]))
    return resampling.adaptive_average(low, node, source)


def mean(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match global average pooling that is written as a mean, or a mean over channels."""
    axes: Any = node.args[1]
    if pointwise.is_pointwise(node):
        return pointwise.match(low, node, aten.mean.dim, [source], [True])
    if sorted(axis % 5 for axis in axes or ()) == [2, 3, 4] and len(node.args) < 4:
        return Match(GlobalAverage(node, source, node.meta["val"].shape[1:]))
    return None


MAP_RULES: Rules = {
    aten.avg_pool3d.default: average_pool,
    aten.adaptive_avg_pool3d.default: adaptive_average_pool,
    aten.mean.dim: mean,
}
