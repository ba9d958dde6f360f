"""ReLU, with the batch norm before it if there is one."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.operations import max_pool
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step, VectorStep
from pyadx.inference.incremental.trace import aten, functional
from pyadx.ops import patches

RELUS = {aten.relu.default}


class Relu(Step):
    """A ReLU, with the batch norm before it if there is one."""

    def __init__(
        self, output: fx.Node, source: fx.Node, rectified: fx.Node, scale: Tensor | None = None
    ) -> None:
        super().__init__(output, [source], [rectified])
        self.scale = scale

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Compute the change after batch norm and ReLU."""
        source = inputs[0]
        out = batch.new(self.output, self.channels)
        patches.relu(source.data, source.boxes, maps[self.before[0]], self.scale, out)
        return Patch(out, source.boxes)

    def changes(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> dict[fx.Node, Patch | Tensor]:
        """Compute the change of the batch norm's result, too."""
        found = super().changes(batch, inputs, maps)
        if self.scale is not None:
            found[self.before[0]] = Patch(inputs[0].data * self.scale, inputs[0].boxes)
        return found


class VectorRelu(VectorStep):
    """A ReLU after the last map; without cancellation where it stays open."""

    def __init__(self, output: fx.Node, source: fx.Node) -> None:
        super().__init__(output, [source], [source])

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """Compute the change as `csrc/patches/patches.h` does for maps."""
        before, change = maps[self.before[0]], inputs[0]
        closed = (before + change).clamp(min=0)
        return torch.where(before > 0, torch.maximum(change, -before), closed)


def pools(low: Lowered, relu: fx.Node) -> bool:
    """Whether only a max pooling reads a ReLU; the step of the pooling then includes the ReLU."""
    user = low.only_user(relu)
    return user is not None and functional(user.target) is aten.max_pool3d.default


def on_maps(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a ReLU, or a ReLU with the max pooling after it."""
    if not pools(low, node):
        return Match(Relu(node, source, source))
    pooling = low.only_user(node)
    assert pooling is not None
    return Match(max_pool.step(pooling, source, rectify=True))


def on_vectors(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a ReLU after the last map."""
    return Match(VectorRelu(node, source))


MAP_RULES: Rules = dict.fromkeys(RELUS, on_maps)
VECTOR_RULES: Rules = dict.fromkeys(RELUS, on_vectors)
