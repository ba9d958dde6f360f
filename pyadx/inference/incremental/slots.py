"""Few sizes of slots for many regions, so that a GPU's library, and graphs of launches, meet few shapes.

Slots that are just large enough change their shape from batch to batch, and the library looks up an
algorithm for each. Here regions of about one size share slots that hold any of them wherever it lies.
Scores do not change: what lies beyond a region's own box is zero. benchmarks/slot_shapes.py counts shapes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from torch import fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.cost import rest_seconds
from pyadx.inference.incremental.lowered_network import LoweredNetwork
from pyadx.inference.incremental.plan import Plan, bytes_per_region

# Batches are filled up to one of these, with regions that change nothing.
_ROWS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 640, 768, 896, 1024)
_MOST_WASTE = 1.5  # memory of a region in its slots, over that in slots of its group's own size
_FREE = 1e-3  # of a forward: whole maps that cost less are computed for filled-up regions, too


class Group(NamedTuple):
    """Regions that share batches.

    Attributes
    ----------
    places : ndarray
        Which they are, int64 ``[n]``.
    slots : mapping, optional
        Per node, what holds any of their boxes; without it every batch takes what it needs.
    """

    places: np.ndarray
    slots: Mapping[fx.Node, bx.Triple] | None


class CanonicalSlots:
    """Groups the regions of a list, and gives each group its slots.

    Sizes are those of the largest region of the list, of half of it, of a quarter and so on, where a group
    takes little more memory in them, and else its own.

    Parameters
    ----------
    network : LoweredNetwork
        Grows boxes.
    """

    def __init__(self, network: LoweredNetwork) -> None:
        self._network = network
        self._size = np.array([int(n) for n in network.trace.input.meta["val"].shape[2:]])
        self._levels: list[bx.Triple] = []
        self._known: dict[tuple[int, bx.Triple], dict[fx.Node, bx.Triple]] = {}

    def expect(self, boxes: np.ndarray) -> None:
        """Take the sizes from a list of regions, ``[R, 6]``, of which groups will be parts."""
        side = bx.largest(boxes)
        self._levels = [side]
        while max(side) > 1:
            z, y, x = (-(-n // 2) for n in side)
            side = (z, y, x)
            self._levels.append(side)

    def groups(self, plan: Plan, boxes: np.ndarray) -> Iterator[Group]:
        """Yield regions of one plan that share slots, ``[R, 6]``; the largest first."""
        places: list[np.ndarray] = []
        sides: bx.Triple | None = None
        for part in reversed(list(bx.by_size(boxes))):
            chosen = self._sides(plan, bx.largest(boxes[part]), sides)
            if places and chosen != sides:
                yield self._group(plan, places, sides)
                places = []
            sides = chosen
            places.append(part)
        if places:
            yield self._group(plan, places, sides)

    def _group(self, plan: Plan, places: list[np.ndarray], sides: bx.Triple | None) -> Group:
        assert sides is not None
        return Group(np.concatenate(places), self._slots(plan, sides))

    def _sides(self, plan: Plan, own: bx.Triple, before: bx.Triple | None) -> bx.Triple:
        """Return sides whose slots hold boxes of other sides: those of the group before, if they do."""
        holding = [level for level in reversed(self._levels) if _holds(level, own)]
        wanted = [before] if before is not None and _holds(before, own) else []
        most = _MOST_WASTE * self._bytes(plan, self._slots(plan, own))
        for sides in (*wanted, *holding[:1]):
            if self._bytes(plan, self._slots(plan, sides)) <= most:
                return sides
        return own

    def _bytes(self, plan: Plan, slots: Mapping[fx.Node, bx.Triple]) -> int:
        return bytes_per_region(plan, self._network.trace.input, slots)

    def _slots(self, plan: Plan, sides: bx.Triple) -> dict[fx.Node, bx.Triple]:
        """Return what holds boxes of such sides, and of smaller ones, wherever they lie.

        How a box grows along one axis does not depend on the others, so that boxes along the diagonal meet
        every case.
        """
        key = (len(plan.steps), sides)
        if key not in self._known:
            most = self._size - sides
            low = np.minimum(np.arange(most.max() + 1)[:, None], most)
            boxes = np.concatenate([low, low + sides], 1).astype(np.int32)
            grown = self._network.grow(boxes, plan.steps)
            self._known[key] = {node: bx.largest(own) for node, own in grown.items()}
        return self._known[key]

    def rows(self, plan: Plan, count: int, most: int) -> int:
        """Return how many regions a batch of ``count`` is filled up to, where ``most`` share a batch."""
        rest = rest_seconds(plan.plain, plan.frontier)
        if count >= most or rest > _FREE * self._network.seconds_left():
            return count
        return min(_ROWS[bisect_left(_ROWS, count)], most)


def full_rows(most: int) -> int:
    """Return the largest usual batch of at most so many regions."""
    return _ROWS[bisect_right(_ROWS, most) - 1] if most > 0 else most


def _holds(sides: bx.Triple, own: bx.Triple) -> bool:
    return all(a >= b for a, b in zip(sides, own, strict=True))
