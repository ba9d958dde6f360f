"""Steps on maps other than convolutions: patches in, patches (or a pooled vector) out."""

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    channels_first,
    channels_innermost,
)
from pyadx.ops import patches


class Relu(Step):
    """A ReLU, with the batch norm before it if there is one."""

    def __init__(
        self, output: fx.Node, source: fx.Node, rectified: fx.Node, scale: Tensor | None = None
    ) -> None:
        super().__init__(output, [source], [rectified])
        self.scale = scale

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """One pass."""
        source = inputs[0]
        out = batch.new(self.output, self.channels)
        patches.relu(source.data, source.boxes, maps[self.before[0]], self.scale, out)
        return Patch(out, source.boxes)

    def changes(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> dict[fx.Node, Patch | Tensor]:
        """Give what leaves the batch norm, too."""
        found = super().changes(batch, inputs, maps)
        if self.scale is not None:
            found[self.before[0]] = Patch(inputs[0].data * self.scale, inputs[0].boxes)
        return found


class Scale(Step):
    """A batch norm on its own: a factor per channel."""

    def __init__(self, output: fx.Node, source: fx.Node, scale: Tensor) -> None:
        super().__init__(output, [source])
        self.scale = scale

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """One pass."""
        out = batch.new(self.output, self.channels)
        torch.mul(inputs[0].data, self.scale, out=out)
        return Patch(out, inputs[0].boxes)


class MaxPool(Step):
    """A max pooling, with the ReLU before it if there is one."""

    def __init__(
        self,
        output: fx.Node,
        source: fx.Node,
        before: fx.Node,
        window: bx.Window,
        rectify: bool,
    ) -> None:
        super().__init__(output, [source], [before])
        self.window = window
        self.rectify = rectify

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Every output whose window meets a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """One pass."""
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        patches.max_pool(
            inputs[0].data, inputs[0].boxes, maps[self.before[0]],
            *self.window, self.rectify, out_boxes, out,
        )  # fmt: skip
        return Patch(out, out_boxes)


class AveragePool(Step):
    """An average pooling: sums over windows of changes, divided as the network divides."""

    def __init__(
        self,
        output: fx.Node,
        source: fx.Node,
        window: bx.Window,
        share: Tensor,
    ) -> None:
        """``share`` is the weight of one cell in every output, ``[D, H, W, 1]``."""
        super().__init__(output, [source])
        self.window = window
        self.share = share

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Every output whose window meets a changed cell."""
        return bx.through_window(boxes[0], self.window, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Frames of zeros and changes that are pooled."""
        return [bx.input_frames(out_boxes, self.window)]

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the size of the frames, their sums, and the shares."""
        out = slots[self.output]
        return (prod(bx.frame_size(out, self.window)) + prod(out)) * self.channels + prod(out)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Cut aligned frames, sum, divide."""
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
        out.masked_fill_(share == 0, 0)  # beyond the box, where the sums may be infinite
        batch.workspace.give(share)
        return Patch(out, out_boxes)


class Sum(Step):
    """A sum or difference of maps of one size: ``sum of factor * map``."""

    def __init__(self, output: fx.Node, terms: Sequence[tuple[fx.Node, float]]) -> None:
        super().__init__(output, [node for node, _ in terms])
        self.factors = [factor for _, factor in terms]

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes around all terms."""
        return bx.union(boxes)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Place the first term, add the others."""
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        for index, (term, factor) in enumerate(zip(inputs, self.factors, strict=True)):
            data = term.data if factor == 1 else term.data * factor
            patches.place(data, term.boxes, out_boxes, out, add=index > 0)
        return Patch(out, out_boxes)


class Concatenate(Step):
    """Maps of one size, channels after channels."""

    def __init__(self, output: fx.Node, parts: Sequence[fx.Node], channels: Sequence[int]) -> None:
        """``parts`` that never change are left out; ``channels`` says where the others begin."""
        super().__init__(output, parts)
        self.first = list(channels)

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes around all parts."""
        return bx.union(boxes)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Place every part."""
        out, out_boxes = batch.new(self.output, self.channels), batch.boxes[self.output]
        if sum(part.data.shape[-1] for part in inputs) < self.channels:
            out.zero_()
        for part, first in zip(inputs, self.first, strict=True):
            patches.place(part.data, part.boxes, out_boxes, out, channel=first)
        return Patch(out, out_boxes)


class Shift(Step):
    """A map padded with a constant, or cropped: the same changes at other places."""

    def __init__(self, output: fx.Node, source: fx.Node, offset: bx.Triple) -> None:
        super().__init__(output, [source])
        self.offset = offset

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Move and clip the boxes."""
        return bx.shifted(boxes[0], self.offset, self.size)

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Where the changes are cut out of the map before."""
        return [out_boxes - np.tile(np.asarray(self.offset, np.int32), 2)]

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """One pass."""
        out = batch.new(self.output, self.channels)
        patches.gather(
            batch.tables[self.output][0], out,
            patches=inputs[0].data, boxes=inputs[0].boxes,
        )  # fmt: skip
        return Patch(out, batch.boxes[self.output])


class Pointwise(Step):
    """Any operation that looks at one cell of each of its maps: ``f(before + change) - f(before)``.

    With ``singular`` the operation tells zero from next to zero, as a logarithm or a quotient does.
    """

    def __init__(
        self,
        output: fx.Node,
        maps: Sequence[fx.Node],
        function: Callable[[Sequence[Tensor]], Tensor],
        singular: bool = False,
    ) -> None:
        super().__init__(output, maps, maps)
        self.function = function
        self.singular = singular

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes around all maps."""
        return bx.union(boxes)

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the size of all operands and results, before and after."""
        channels = sum(int(node.meta["val"].shape[1]) for node in self.inputs)
        return 2 * prod(slots[self.output]) * (channels + self.channels)

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Evaluate the operation twice; beyond the box on ones, which nothing divides by zero."""
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
        before, after = (self.function([channels_first(v) for v in side]) for side in values)
        batch.doubt_infinite(*values[1], channels_innermost(before))
        change = channels_innermost(after - before)
        for taken in (*values[0], *values[1]):
            batch.workspace.give(taken)
        return Patch(change, out_boxes)


class GlobalAverage(Step):
    """Global average pooling: the sum of the changes over the number of cells."""

    local = False
    boxed = False

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
