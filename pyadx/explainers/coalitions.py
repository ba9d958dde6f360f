"""The tree of players: which orders of players respect it, and which coalitions exact values need.

Players are numbered along the leaves of the tree, so every node is an interval of players.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from math import ceil, log10

import numpy as np

Split = tuple[int, ...]  # bounds of two or more blocks of players: b0 <= i < b1, b1 <= i < b2, ...


def splits_of(joins: np.ndarray, balanced: bool = False) -> tuple[Split, ...]:
    """Return the splits of a binary tree, from the root on.

    Parameters
    ----------
    joins : ndarray
        ``[K - 1]``: when each pair of neighbours merges; see `pyadx.segmentation.Hierarchy.merge_order`.
    balanced : bool
        Build a flatter tree over the same leaves: split each block where neighbours merge last, among the
        places that leave a third of its players on either side. No branch is then much longer than
        ``log(K) / log(3/2)``.

    Returns
    -------
    tuple of tuple of int
        Bounds of the blocks of each split.
    """
    splits, blocks = [], [(0, len(joins) + 1)]
    while blocks:
        low, high = blocks.pop()
        if high - low > 1:
            margin = min(ceil((high - low) / 3), (high - low) // 2) if balanced else 1
            first = low + margin
            middle = first + int(joins[first - 1 : high - margin].argmax())
            splits.append((low, middle, high))
            blocks += [(low, middle), (middle, high)]
    return tuple(splits)


def splits_of_groups(paths: Sequence[Sequence[str]]) -> tuple[Split, ...]:
    """Return the splits of nested groups, from the root on.

    Parameters
    ----------
    paths : sequence of sequence of str
        For each player the groups that it belongs to, outermost first. Members of a group must be
        neighbours.

    Returns
    -------
    tuple of tuple of int
        Bounds of the blocks of each split.
    """
    splits = []
    blocks = [(0, len(paths), 0)]
    while blocks:
        low, high, depth = blocks.pop(0)
        if high - low < 2:
            continue
        parts = []
        groups = [tuple(path[depth : depth + 1]) for path in paths]
        for name, members in groupby(range(low, high), groups.__getitem__):
            own = list(members)
            # Each player that belongs to no further group is a block of its own.
            parts += [(own[0], own[-1] + 1)] if name else [(i, i + 1) for i in own]
        if len(parts) > 1:
            splits.append((low, *(high for _, high in parts)))
        blocks += [(a, b, depth + 1) for a, b in parts]
    return tuple(splits)


def draw_order(splits: Sequence[Split], count: int, random: np.random.Generator) -> np.ndarray:
    """Draw an order of players, int64 ``[K]``, that keeps the members of every node together.

    All such orders are equally likely.
    """
    order = np.arange(count)
    turned = random.random(len(splits)) < 0.5
    # From the finest split up, so that a block is in its own order before it moves.
    for bounds, turn in zip(splits[::-1], turned[::-1], strict=True):
        blocks = [order[a:b] for a, b in pairwise(bounds)]
        if len(blocks) > 2:
            chosen = [blocks[place] for place in random.permutation(len(blocks))]
        else:
            chosen = blocks[::-1] if turn else blocks
        order[bounds[0] : bounds[-1]] = np.concatenate(chosen)
    return order


@dataclass(frozen=True)
class GameSize:
    """The cost of exact values.

    Attributes
    ----------
    coalitions : int
        Scans to score: ``2 + sum over nodes of contexts * (2^parts - 2)``. A node has one context for every
        subset of the siblings along the path to it.
    depth : int
        Number of splits on the longest path from the root.
    """

    coalitions: int
    depth: int

    @property
    def words(self) -> str:
        """The cost in words, such as "342,956 coalitions (depth 13)"."""
        count = self.coalitions
        number = f"{count:,}" if count < 10**7 else f"10^{round(log10(count))}"
        return f"{number} coalitions (depth {self.depth})"


def game_size(splits: Sequence[Split], count: int) -> GameSize:
    """Return the cost of exact values of ``count`` players. Without splits all orders are allowed."""
    reached = {(0, count): (1, 0)}
    coalitions, longest = 2, 0
    for bounds in splits or [tuple(range(count + 1))]:
        contexts, depth = reached.pop((bounds[0], bounds[-1]))
        parts = len(bounds) - 1
        coalitions += contexts * (2**parts - 2)
        longest = max(longest, depth + 1)
        for block in pairwise(bounds):
            reached[block] = (contexts * 2 ** (parts - 1), depth + 1)
    return GameSize(coalitions, longest)


@dataclass(frozen=True, eq=False)
class Node:
    """A node of the tree: players ``low <= i < high``, and the child nodes that divide them."""

    low: int
    high: int
    parts: tuple["Node", ...] = ()

    @cached_property
    def coalitions(self) -> int:
        """Coalitions to score below this node in one context."""
        parts = len(self.parts)
        if not parts:
            return 0
        return 2**parts - 2 + 2 ** (parts - 1) * sum(part.coalitions for part in self.parts)

    @property
    def whole(self) -> int:
        """The subset of all parts, as bits."""
        return 2 ** len(self.parts) - 1

    def members(self, subset: int) -> tuple["Node", ...]:
        """Return the parts of a subset given as bits."""
        return tuple(part for i, part in enumerate(self.parts) if subset >> i & 1)

    def below(self) -> list["Node"]:
        """Return all nodes below this one, parents before children."""
        return [node for part in self.parts for node in (part, *part.below())]


def tree_of(splits: Sequence[Split], count: int) -> Node:
    """Return the root of the tree. Without splits it is the parent of all players."""
    made: dict[tuple[int, int], Node] = {}
    for bounds in list(splits or [tuple(range(count + 1))])[::-1]:
        parts = tuple(made.get(block) or Node(*block) for block in pairwise(bounds))
        made[bounds[0], bounds[-1]] = Node(bounds[0], bounds[-1], parts)
    return made[0, count]
