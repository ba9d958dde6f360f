"""Exact Shapley and Winter values: every coalition that matters is scored, at a baseline that moves.

At a node of the tree, in the presence of some of the siblings on the path to it, every subset of its parts
is scored, and each part is looked into in the presence of every subset of the others. Going from one
subset to the next is a commit (`pyadx.inference.baseline`); what has to be scored in one state of the scan
is scored together. For a binary tree the value of a region is ``2^-d sum over subsets C of the d siblings
on its path of v(C + i) - v(C)``. Source: Winter, "A value for cooperative games with levels structure of
cooperation", 1989.
"""

from collections.abc import Callable, Iterator
from math import factorial
from typing import NamedTuple

import numpy as np
import torch

from pyadx.explainers.coalitions import Node
from pyadx.explainers.walks import Ends, Estimate
from pyadx.inference.engines import RegionScorer
from pyadx.inference.regions import Regions
from pyadx.inference.score_store import ScoreStore

_PIECE = 1024  # coalitions that are worked out, stored and resumed together
_STATES = 64  # of the scan, likewise

Context = tuple[Node, ...]  # nodes of the tree that are there; all other players are filled
Between = tuple[float, float]
Scores = dict[Node, float]  # of the scan with each node besides


class ExactShares:
    """Works out the values of all players of a tree.

    Parameters
    ----------
    scorer : RegionScorer
        Of regions that come back: its fill is the scan.
    regions : Regions
        Of all nodes below the root, in the order of ``Node.below``.
    root : Node
        The tree.
    numbers : ndarray
        ``[D, H, W]``: one more than the player that a voxel belongs to.
    ends : Ends
        The scan, and the reference that the walk begins at.
    store : ScoreStore, optional
        Keeps pieces of the work; those that it has are not done again.
    advance : callable
        Told how many coalitions are done.
    """

    def __init__(
        self,
        scorer: RegionScorer,
        regions: Regions,
        root: Node,
        numbers: np.ndarray,
        ends: Ends,
        store: ScoreStore | None,
        advance: Callable[[int], None],
    ) -> None:
        self._scorer, self._regions, self._root, self._ends = scorer, regions, root, ends
        self._numbers = torch.from_numpy(numbers).to(ends.scan.device)
        self._places = dict(zip(root.below(), regions.inverse.tolist(), strict=True))
        self._store, self._done, self._advance = store, 0, advance
        self._here: Context = ()
        self._drift = 0.0

    def run(self) -> Estimate:
        """Return the values; their errors are zero."""
        values = np.zeros(self._root.high)
        self._advance(2)
        self._look(self._root, (), (self._ends.reference_score, self._ends.score), 1.0, values)
        # Nothing but rounding: the score does not depend on players that change no voxel.
        values[[node.low for node, place in self._places.items() if place < 0 and not node.parts]] = 0.0
        return Estimate(values, np.zeros(len(values)), 0, self._drift, exact=True)

    def _look(self, node: Node, context: Context, ends: Between, weight: float, values: np.ndarray) -> None:
        """Add to ``values`` what the players of a node get in one context, in pieces that can be kept.

        ``ends`` are the scores without the node and with it.
        """
        if node.coalitions <= _PIECE:
            own = self._kept(lambda: self._piece(node, context, ends))
            values[node.low : node.high] += weight * own[:-1]
            self._drift = max(self._drift, float(own[-1]))
            self._advance(node.coalitions)
            return
        known = {0: ends[0], node.whole: ends[1]}
        steps = list(_steps(node))
        for first in range(0, len(steps), _STATES):
            group = [step for step in steps[first : first + _STATES] if step.wanted]
            for step, scores in zip(group, self._group(node, context, group), strict=True):
                known.update({step.subset | 1 << i: scores[node.parts[i]] for i in step.wanted})
        for step in steps:
            share = weight * _share(len(node.parts), step.subset.bit_count())
            for i in step.inner:
                between = known[step.subset], known[step.subset | 1 << i]
                self._look(node.parts[i], context + node.members(step.subset), between, share, values)
        _add_leaves(node, known, weight, values)

    def _group(self, node: Node, context: Context, group: list["_Step"]) -> list[Scores]:
        """Score the parts of a node that are wanted in several states."""
        wanted = [[node.parts[i] for i in step.wanted] for step in group]

        def work() -> np.ndarray:
            states = [context + node.members(step.subset) for step in group]
            self._start(states[0])
            found = [self._scores(state, nodes) for state, nodes in zip(states, wanted, strict=True)]
            return np.array([own[part] for own, nodes in zip(found, wanted, strict=True) for part in nodes])

        if not group:
            return []
        scores = iter(self._kept(work).tolist())
        self._advance(sum(map(len, wanted)))
        return [{part: next(scores) for part in nodes} for nodes in wanted]

    def _piece(self, node: Node, context: Context, ends: Between) -> np.ndarray:
        """Return what the players of a node get, and how far rounding moved the score meanwhile."""
        self._start(context)
        begun = self._scorer.reference
        values = np.zeros(self._root.high)
        self._look_at_once(node, context, ends, 1.0, self._scores(context, node.below()), values)
        self._go(context)
        return np.append(values[node.low : node.high], abs(self._scorer.reference - begun))

    def _look_at_once(
        self,
        node: Node,
        context: Context,
        ends: Between,
        weight: float,
        scores: Scores,
        values: np.ndarray,
    ) -> None:
        """Do as `_look` does, where ``scores`` are those of the context with each node below."""
        known = {0: ends[0], node.whole: ends[1]}
        for subset, wanted, inner in _steps(node):
            state = context + node.members(subset)
            if subset:
                nodes = [node.parts[i] for i in wanted]
                nodes += [low for i in inner for low in node.parts[i].below()]
                scores = self._scores(state, nodes)
            known.update({subset | 1 << i: scores[node.parts[i]] for i in wanted})
            share = weight * _share(len(node.parts), subset.bit_count())
            for i in inner:
                between = known[subset], known[subset | 1 << i]
                self._look_at_once(node.parts[i], state, between, share, scores, values)
        _add_leaves(node, known, weight, values)

    def _kept(self, work: Callable[[], np.ndarray]) -> np.ndarray:
        """Work out the next piece, or read it where it was worked out before."""
        if self._store is None:
            return work()
        if self._done >= self._store.chunks:
            self._store.append(torch.from_numpy(work()))
        self._done += 1
        return self._store.read(self._done - 1).numpy()

    def _scores(self, state: Context, nodes: list[Node]) -> Scores:
        """Score the scan in a state with each of some nodes besides."""
        self._go(state)
        places = np.unique([self._places[node] for node in nodes])
        places = places[places >= 0]
        moved = self._scorer.score_regions(self._regions.part(places), advance=lambda count: None)
        after = self._scorer.reference - moved.double().cpu().numpy()
        found = {-1: self._scorer.reference, **dict(zip(places.tolist(), after.tolist(), strict=True))}
        return {node: found[self._places[node]] for node in nodes}

    def _start(self, state: Context) -> None:
        """Make the scan of a state anew, so that a piece does not depend on those before it."""
        there = torch.zeros_like(self._numbers, dtype=torch.bool)
        for node in state:
            there |= (self._numbers > node.low) & (self._numbers <= node.high)
        self._scorer.rebase(torch.where(there, self._ends.scan, self._ends.reference))
        self._here = state

    def _go(self, state: Context) -> None:
        """Bring the scan from the state that it is in to another one."""
        for node in self._here:
            if node not in state:
                self._commit(node, self._ends.reference)
        for node in state:
            if node not in self._here:
                self._commit(node, self._ends.scan)
        self._here = state

    def _commit(self, node: Node, values: torch.Tensor) -> None:
        if self._places[node] >= 0:
            self._scorer.commit(self._regions.part(np.array([self._places[node]])), values)


class _Step(NamedTuple):
    """A subset of the parts of a node, as bits; which parts are scored besides, which are looked into."""

    subset: int
    wanted: list[int]
    inner: list[int]


def _steps(node: Node) -> Iterator[_Step]:
    """Give the subsets of the parts in which there is something to do, by small steps (Gray's code).

    Whatever a subset is, one with a part less comes before it, so that its score is known.
    """
    count = len(node.parts)
    known = {0, node.whole}
    for number in range(2**count):
        subset = number ^ number >> 1
        absent = [i for i in range(count) if not subset >> i & 1]
        wanted = [i for i in absent if subset | 1 << i not in known]
        inner = [i for i in absent if node.parts[i].parts]
        known |= {subset | 1 << i for i in wanted}
        if wanted or inner:
            yield _Step(subset, wanted, inner)


def _share(parts: int, present: int) -> float:
    """Return how often so many of the parts come before a given one."""
    return factorial(present) * factorial(parts - present - 1) / factorial(parts)


def _add_leaves(node: Node, known: dict[int, float], weight: float, values: np.ndarray) -> None:
    """Add what every part that is a single player contributes to all subsets of the others."""
    count = len(node.parts)
    shares = [weight * _share(count, size) for size in range(count)]
    for i, part in enumerate(node.parts):
        if part.parts:
            continue
        without = [subset for subset in range(2**count) if not subset >> i & 1]
        values[part.low] += sum(
            shares[subset.bit_count()] * (known[subset | 1 << i] - known[subset]) for subset in without
        )
