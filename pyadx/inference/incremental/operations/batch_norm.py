"""Batch normalisation in evaluation mode: a factor per channel of every change."""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from pyadx.inference.incremental.lowered import Lowered, Match, Rules
from pyadx.inference.incremental.operations.relu import RELUS, Relu
from pyadx.inference.incremental.steps import Batch, Maps, Patch, Step, VectorStep
from pyadx.inference.incremental.trace import aten, functional

BATCH_NORMS = {  # indices of weight, bias, mean, variance and epsilon among the arguments
    aten._native_batch_norm_legit_no_training.default: (1, 2, 3, 4, 6),
    aten.batch_norm.default: (1, 2, 3, 4, 7),
}


class Scale(Step):
    """A batch norm of a map that no ReLU follows: a factor per channel."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, scale: Tensor) -> None:
        super().__init__(output, [source])
        self.scale = scale

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch:
        """Multiply the changes by the factors."""
        out = batch.new(self.output, self.channels)
        torch.mul(inputs[0].data, self.scale, out=out)
        return Patch(out, inputs[0].boxes)


class VectorScale(VectorStep):
    """A batch norm after the last map: a factor per channel."""

    linear = True

    def __init__(self, output: fx.Node, source: fx.Node, scale: Tensor) -> None:
        super().__init__(output, [source])
        self.scale = scale.reshape(-1, *[1] * (output.meta["val"].dim() - 2))

    def run(self, batch: Batch, inputs: Sequence[Tensor], maps: Maps) -> Tensor:  # type: ignore[override]
        """Multiply the changes by the factors."""
        return inputs[0] * self.scale


def normalised(low: Lowered, node: fx.Node) -> tuple[fx.Node, Tensor] | None:
    """Return a batch norm's result and its factors per channel.

    None if parameters or statistics are not constant, or if more than its map is read.
    """
    places = BATCH_NORMS[functional(node.target)]
    weight, bias, mean, variance = (low.constant(node.args[i]) for i in places[:4])
    eps: Any = node.args[places[4]]
    affine = [node.args[place] for place in places[:2]]
    if mean is None or variance is None or [weight is None, bias is None] != [a is None for a in affine]:
        return None  # something is computed from the scan
    if functional(node.target) is aten.batch_norm.default and node.args[5]:
        return None  # training mode, in which statistics depend on the batch
    scale = (variance.double() + float(eps)).rsqrt()
    if weight is not None:
        scale = scale * weight.double()
    result = node
    if functional(node.target) is not aten.batch_norm.default:
        users = [user for user in node.users if user.target is operator.getitem]
        if len(users) != len(node.users) or [user.args[1] for user in users] != [0]:
            return None
        result = users[0]
    return result, scale.to(mean.dtype)


def on_maps(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a batch norm, together with a ReLU if that is its only reader."""
    found = normalised(low, node)
    if found is None:
        return None
    result, scale = found
    relu = low.only_user(result)
    if relu is not None and functional(relu.target) in RELUS:
        return Match(Relu(relu, source, result, scale), covers=[result])
    return Match(Scale(result, source, scale))


def on_vectors(low: Lowered, node: fx.Node, source: fx.Node) -> Match | None:
    """Match a batch norm after the last map."""
    found = normalised(low, node)
    return None if found is None else Match(VectorScale(found[0], source, found[1]))


MAP_RULES: Rules = dict.fromkeys(BATCH_NORMS, on_maps)
VECTOR_RULES: Rules = dict.fromkeys(BATCH_NORMS, on_vectors)
