"""Steps after the last map: changes ``[B, ...]`` of whole nodes in and out."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental.steps import Batch, Maps, Step, Work


class VectorStep(Step):
    """A step on changes of whole nodes; its work does not count."""

    local = False
    boxed = False

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Next to nothing."""
        return Work(0.0, 0.0)


class Reshape(VectorStep):
    """The same values in another shape."""

    def __init__(self, output: fx.Node, source: fx.Node) -> None:
        super().__init__(output, [source])
        self.shape = tuple(int(n) for n in output.meta["val"].shape[1:])

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """Return a view."""
        return inputs[0].reshape(batch.size, *self.shape)


class VectorScale(VectorStep):
    """A batch norm: a factor per channel."""

    def __init__(self, output: fx.Node, source: fx.Node, scale: Tensor) -> None:
        super().__init__(output, [source])
        self.scale = scale.reshape(-1, *[1] * (output.meta["val"].dim() - 2))

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """One product."""
        return inputs[0] * self.scale


class VectorRelu(VectorStep):
    """A ReLU, free of cancellation wherever it stays open."""

    def __init__(self, output: fx.Node, source: fx.Node) -> None:
        super().__init__(output, [source], [source])

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """As `csrc/patches/patches.h` does it for maps."""
        before, change = maps[self.before[0]], inputs[0]
        closed = (before + change).clamp(min=0)
        return torch.where(before > 0, torch.maximum(change, -before), closed)


class VectorPointwise(VectorStep):
    """Any operation on single values: ``f(before + change) - f(before)``.

    With ``singular`` the operation tells zero from next to zero, as a logarithm or a quotient does.
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
        """Evaluate the operation twice."""
        before = [maps[node] for node in self.before]
        after = [b + change for b, change in zip(before, inputs, strict=True)]
        if self.singular:
            batch.doubt_rounding(before, after)
        kept = self.function(before)
        batch.doubt_infinite(*after, kept)
        return self.function(after) - kept
