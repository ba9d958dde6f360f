"""Replaces the linear operations at the end of a network by one inner product per class.

After the last ReLU a network may convolve, normalise, add, average and apply a linear layer. Together these
are one linear function. Its matrix is the gradient of the class scores, which is the same for every region.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.interpreter import Interpreter, needed_for
from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.steps import (
    Batch,
    Maps,
    Patch,
    Step,
    Work,
    channels_innermost,
    element_size,
    map_size,
)
from pyadx.ops import patches

_MOST_BYTES = 64 << 20  # of gradients; networks that need more keep their separate steps
_LEAST_GAIN = 2.0  # of floating-point operations, separate steps over one step


class LinearTail(Step):
    """The change of the class scores: inner products of gradients with the changes of some maps.

    Parameters
    ----------
    output : fx.Node
        The class scores.
    sources : sequence of fx.Node
        The maps.
    steps : sequence of Step
        The steps that it replaces.
    low : Lowered
        The network while it is lowered.
    interpreter : Interpreter
        Evaluates the network's operations to take the gradients.
    """

    local = False
    boxed = False

    def __init__(
        self,
        output: fx.Node,
        sources: Sequence[fx.Node],
        steps: Sequence[Step],
        low: Lowered,
        interpreter: Interpreter,
    ) -> None:
        super().__init__(output, sources)
        self.steps = tuple(steps)
        self._low, self._interpreter = low, interpreter
        self._gradients: list[Tensor] = []

    @property
    def classes(self) -> int:
        """Number of class scores."""
        return int(self.output.meta["val"].shape[1])

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Count one product of every changed value with one gradient per class."""
        values = sum(
            bx.cells(own) * int(node.meta["val"].shape[1])
            for own, node in zip(boxes, self.inputs, strict=True)
        )
        return Work(2.0 * self.classes * values, self.classes * values * element_size(self.output))

    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Tensor:
        """Return the change of the class scores, ``[B, classes]``."""
        if not self._gradients:
            self._gradients = gradients(self._low, self._interpreter, self.inputs)
        total: Tensor | None = None
        for source, gradient in zip(inputs, self._gradients, strict=True):
            own = source.data.new_empty(batch.size, self.classes)
            patches.dot(source.data, source.boxes, gradient, own)
            total = own if total is None else total + own
        assert total is not None
        return total


def fold_linear_tail(low: Lowered, interpreter: Interpreter) -> None:
    """Replace the last steps by a `LinearTail` if they are linear from maps to class scores and it pays."""
    output = low.resolve(low.trace.output)
    value = output.meta.get("val")
    if low.local.get(output, True) or not isinstance(value, Tensor) or value.dim() != 2:
        return  # no steps lead to class scores
    if torch.is_inference_mode_enabled():
        return  # gradients cannot be taken in inference mode
    tail = _tail(low.steps, output)
    made = {step.output for step in tail}
    sources = list(dict.fromkeys(node for step in tail for node in step.inputs if node not in made))
    if not sources or not all(low.local[node] for node in sources):
        return
    found = LinearTail(output, sources, tail, low, interpreter)
    bytes_ = sum(node.meta["val"][0].numel() * element_size(node) for node in sources) * found.classes
    if bytes_ > _MOST_BYTES or _products(tail) < _LEAST_GAIN * _products([found]):
        return
    low.steps = [*(step for step in low.steps if step not in tail), found]


def _tail(steps: Sequence[Step], output: fx.Node) -> list[Step]:
    """Return the linear steps whose results only such steps read, or which are the output."""
    readers: dict[fx.Node, list[Step]] = {}
    for step in steps:
        for node in (*step.inputs, *step.before):
            readers.setdefault(node, []).append(step)
    tail: list[Step] = []
    for step in reversed(steps):
        own = readers.get(step.output, [])
        if step.linear and (step.output is output or (own and all(reader in tail for reader in own))):
            tail.append(step)
    return tail[::-1]


def _products(steps: Sequence[Step]) -> float:
    """Return the floating-point operations that steps would take if whole maps changed."""

    def whole(node: fx.Node) -> np.ndarray:
        if node.meta["val"].dim() != 5:
            return np.zeros((1, 6), np.int32)
        return np.array([[0, 0, 0, *map_size(node)]], np.int32)

    works = (step.work([whole(node) for node in step.inputs], whole(step.output)) for step in steps)
    return sum(float(np.sum(work.flops)) for work in works)


def gradients(low: Lowered, interpreter: Interpreter, sources: Sequence[fx.Node]) -> list[Tensor]:
    """Return the gradients of all class scores with respect to some maps.

    Parameters
    ----------
    low : Lowered
        The network while it is lowered.
    interpreter : Interpreter
        Evaluates the network's operations.
    sources : sequence of fx.Node
        The maps. The operations from them to the scores must be linear (or affine), since gradients are
        taken at maps of zeros.

    Returns
    -------
    list of Tensor
        ``[classes, D, H, W, C]`` for each map.
    """
    names = low.names(sources)
    order = needed_for(low.trace.output, low.trace.nodes, set(names))
    with torch.enable_grad():
        maps = []
        for node in sources:
            value = node.meta["val"]
            zeros = torch.zeros(1, *value.shape[1:], dtype=value.dtype, device=value.device)
            maps.append(zeros.requires_grad_())
        given = {name: maps[sources.index(node)] for name, node in names.items()}
        scores = interpreter.run(given, order, 1)[0]
        found = [
            torch.autograd.grad(score, maps, retain_graph=True, materialize_grads=True) for score in scores
        ]
    return [channels_innermost(torch.cat(own)) for own in zip(*found, strict=True)]
