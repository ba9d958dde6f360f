"""Few sizes of slots for many regions: the library of a GPU, and graphs of launches, then meet few shapes.

Slots that just hold their boxes change their shape from batch to batch, and the library has to look up an
algorithm for every shape. Here regions of about the same size share slots that hold any of them, wherever
it is in the scan. Scores do not change, since entries beyond a region's own box are zero.
benchmarks/slot_shapes.py counts shapes.
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

# Sizes that batches are padded to, with regions that change nothing.
_ROWS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 640, 768, 896, 1024)
_MOST_WASTE = 1.5  # memory of a region in shared slots, divided by that in slots of its group's own size
_FREE = 1e-3  # share of a forward: whole maps that cost less are computed for padding, too


class Group(NamedTuple):
    """Regions that share batches.

    Attributes
    ----------
    places : ndarray
        int64 ``[n]``: indices of the regions.
    slots : mapping, optional
        Per node, the size of a slot that holds any of their boxes. Without it every batch has slots that
        just hold its own boxes.
    """

    places: np.ndarray
    slots: Mapping[fx.Node, bx.Triple] | None


class CanonicalSlots:
    """Groups the regions of a list, and gives each group its slots.

    Slots are made for regions with the sides of the largest region of the list, half of these, a quarter
    and so on. A group takes such slots if they need little more memory than slots for its own sides,
    which it takes otherwise.

    Parameters
    ----------
    network : LoweredNetwork
        Tells how boxes grow.
    """

    def __init__(self, network: LoweredNetwork) -> None:
        self._network = network
        self._size = np.array([int(n) for n in network.trace.input.meta["val"].shape[2:]])
        self._levels: list[bx.Triple] = []
        self._known: dict[tuple[int, bx.Triple], dict[fx.Node, bx.Triple]] = {}

    def expect(self, boxes: np.ndarray) -> None:
        """Choose the sizes for a list of regions, ``[R, 6]``; `groups` is then called with parts of it."""
        side = bx.largest(boxes)
        self._levels = [side]
        while max(side) > 1:
            z, y, x = (-(-n // 2) for n in side)
            side = (z, y, x)
            self._levels.append(side)

    def groups(self, plan: Plan, boxes: np.ndarray) -> Iterator[Group]:
        """Yield groups of regions of one plan, ``[R, 6]``, that share slots; the largest regions first."""
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
        """Return the sides that slots are made for: those of the group before, a usual size, or ``own``."""
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
        """Return the sizes of slots that hold boxes with sides up to these, wherever they are in the scan.

        How a box grows along one axis does not depend on the other axes, so boxes along the diagonal of the
        scan cover all cases.
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
        """Return how many regions a batch of ``count`` regions is padded to, at most ``most``."""
        rest = rest_seconds(plan.plain, plan.frontier)
        if count >= most or rest > _FREE * self._network.seconds_left():
            return count
        return min(_ROWS[bisect_left(_ROWS, count)], most)


def full_rows(most: int) -> int:
    """Return the largest padded size of a batch that is at most ``most``."""
    return _ROWS[bisect_right(_ROWS, most) - 1] if most > 0 else most


def _holds(sides: bx.Triple, own: bx.Triple) -> bool:
    return all(a >= b for a, b in zip(sides, own, strict=True))
