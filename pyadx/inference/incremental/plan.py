"""Plans: which steps run on boxes, which operations follow on whole maps, and the memory for both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

import numpy as np
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.steps import Step

# Lengths that the sides of boxes are rounded up to before a plan is chosen. Boxes of about the same size
# then share a plan, whatever else is scored.
_SIDES = np.array([n << k for k in range(12) for n in (2, 3)])


@dataclass
class Plan:
    """How regions of about one size are scored: steps on boxes, then plain operations on whole maps.

    Attributes
    ----------
    steps : list of Step
        Run on boxes.
    plain : list of fx.Node
        Operations that run on whole maps afterwards; empty if the steps reach the class scores.
    frontier : list of fx.Node
        Nodes between the two: their changes are scattered into whole maps.
    last_reader : dict
        For every input of a step, the last step that reads it.
    """

    steps: list[Step]
    plain: list[fx.Node]
    frontier: list[fx.Node]
    last_reader: dict[fx.Node, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last_reader = {node: step for step in self.steps for node in step.inputs}

    @property
    def kept(self) -> set[fx.Node]:
        """Nodes whose values in the unperturbed scan are needed."""
        return {node for step in self.steps for node in step.before} | set(self.frontier)


class Scores(NamedTuple):
    """The result of one batch.

    Attributes
    ----------
    outputs : Tensor
        ``[B, classes]``.
    change : bool
        Whether ``outputs`` are changes of the class scores, or the class scores themselves.
    doubtful : Tensor
        bool ``[B]``: regions that have to be scored by full forwards instead.
    """

    outputs: Tensor
    change: bool
    doubtful: Tensor

    def of_first(self, count: int) -> "Scores":
        """Return the result of the first ``count`` regions."""
        return Scores(self.outputs[:count], self.change, self.doubtful[:count])


def rounded_sides(boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the side lengths of boxes, rounded up to at most the map's ``size``, ``[R, 3]``."""
    sides = bx.extents(boxes)
    upper = np.where(sides <= 1, 1, _SIDES[np.searchsorted(_SIDES, np.maximum(sides, 2))])
    return np.minimum(upper, np.asarray(size))


def centred(sides: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return boxes with these side lengths in the middle of a map of ``size``, int32 ``[R, 6]``."""
    low = (np.asarray(size) - sides) // 2
    return np.concatenate([low, low + sides], 1).astype(np.int32)


def node_bytes(node: fx.Node) -> int:
    """Return the bytes of a node's value for one scan."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return 0
    return prod(int(n) for n in value.shape[1:]) * value.element_size()


def bytes_per_region(plan: Plan, source: fx.Node, slots: Mapping[fx.Node, bx.Triple]) -> int:
    """Return the bytes that one region of a batch takes at most.

    Parameters
    ----------
    plan : Plan
        The plan that the batch runs.
    source : fx.Node
        The scan.
    slots : mapping
        Per node, the size of a slot that holds the box of any region of the batch.
    """
    item = int(source.meta["val"].element_size())

    def elements(node: fx.Node) -> int:
        if node not in slots:  # not a map: a vector per scan, or a number
            return node_bytes(node) // item
        return prod(slots[node]) * int(node.meta["val"].shape[1])

    held = set(plan.frontier)
    alive = {source: elements(source)}
    most = alive[source] + 2 * prod(slots[source])  # for the labels of segments
    for step in plan.steps:
        alive[step.output] = elements(step.output)
        most = max(most, sum(alive.values()) + step.scratch(slots))
        for node in step.inputs:
            if plan.last_reader[node] is step and node not in held:
                alive.pop(node, None)
    whole = sum(node_bytes(node) for node in plan.frontier)
    largest = max((node_bytes(node) for node in (*plan.plain, *plan.frontier)), default=0)
    return max(most * item, sum(alive.values()) * item + whole, whole + 3 * largest)
