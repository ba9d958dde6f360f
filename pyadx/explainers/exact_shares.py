"""Exact Shapley and Winter values: every coalition that matters is scored, on a baseline that moves.

Players are the leaves of a tree. A context is a subset of the siblings along the path to a node; these are
present, and everything else is filled. In each of its contexts a node is visited once: every subset of its
parts is scored, and each part is visited in turn, in the presence of every subset of the other parts. Going
from one subset to the next is a commit (`pyadx.inference.baseline`). All scores that one state of the scan
needs are computed together. For a binary tree the value of a region is ``2^-d sum over subsets C of
the d siblings on its path of v(C + i) - v(C)``. Source: Winter, "A value for cooperative games with levels
structure of cooperation", 1989.
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

_PIECE = 1024  # a node with at most this many coalitions is computed, stored and resumed as a whole
_STATES = 64  # states of the scan that larger nodes compute, store and resume together

Context = tuple[Node, ...]  # nodes that are present; all other players are filled
Between = tuple[float, float]  # scores without a node and with it
Scores = dict[Node, float]  # score of a state of the scan with one more node present


class ExactShares:
    """Computes the values of all players of a tree.

    Parameters
    ----------
    scorer : RegionScorer
        Scores regions that are brought back: its fill is the original scan.
    regions : Regions
        The regions of all nodes below the root, in the order of ``Node.below``.
    root : Node
        Root of the tree.
    numbers : ndarray
        Integers ``[D, H, W]``: index of each voxel's player plus 1, or 0 outside all regions.
    ends : Ends
        The scan, and the scan with all regions filled.
    store : ScoreStore, optional
        Keeps finished pieces of the work, which are not computed again.
    advance : callable
        Called with the number of coalitions that were finished since the last call.
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
        """Return the values. Their standard errors are 0."""
        values = np.zeros(self._root.high)
        self._advance(2)
        self._visit(self._root, (), (self._ends.reference_score, self._ends.score), 1.0, values)
        # The score does not depend on players that change no voxel; what they have is rounding error.
        values[[node.low for node, place in self._places.items() if place < 0 and not node.parts]] = 0.0
        return Estimate(values, np.zeros(len(values)), 0, self._drift, exact=True)

    def _visit(
        self, node: Node, context: Context, ends: Between, weight: float, values: np.ndarray
    ) -> None:
        """Add to ``values`` what the players of a node get in one context, in pieces that can be stored.

        ``ends`` are the scores of the context without the node and with it.
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
                self._visit(node.parts[i], context + node.members(step.subset), between, share, values)
        _add_leaves(node, known, weight, values)

    def _group(self, node: Node, context: Context, group: list["_Step"]) -> list[Scores]:
        """Score the wanted parts of a node in several states; return one dict per state."""
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
        """Return what the players of a node get, followed by the rounding error of the score."""
        self._start(context)
        begun = self._scorer.reference
        values = np.zeros(self._root.high)
        self._visit_whole(node, context, ends, 1.0, self._scores(context, node.below()), values)
        self._go(context)
        return np.append(values[node.low : node.high], abs(self._scorer.reference - begun))

    def _visit_whole(
        self,
        node: Node,
        context: Context,
        ends: Between,
        weight: float,
        scores: Scores,
        values: np.ndarray,
    ) -> None:
        """Do as `_visit` does, in one piece. ``scores`` has the context with each node below the node."""
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
                self._visit_whole(node.parts[i], state, between, share, scores, values)
        _add_leaves(node, known, weight, values)

    def _kept(self, work: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the next piece from the store, or compute it and store it."""
        if self._store is None:
            return work()
        if self._done >= self._store.chunks:
            self._store.append(torch.from_numpy(work()))
        self._done += 1
        return self._store.read(self._done - 1).numpy()

    def _scores(self, state: Context, nodes: list[Node]) -> Scores:
        """Bring the scan into a state, and score it with each of some further nodes present."""
        self._go(state)
        places = np.unique([self._places[node] for node in nodes])
        places = places[places >= 0]
        moved = self._scorer.score_regions(self._regions.part(places), advance=lambda count: None)
        after = self._scorer.reference - moved.double().cpu().numpy()
        found = {-1: self._scorer.reference, **dict(zip(places.tolist(), after.tolist(), strict=True))}
        return {node: found[self._places[node]] for node in nodes}

    def _start(self, state: Context) -> None:
        """Compute the scan of a state from scratch, so that a piece does not depend on earlier ones."""
        there = torch.zeros_like(self._numbers, dtype=torch.bool)
        for node in state:
            there |= (self._numbers > node.low) & (self._numbers <= node.high)
        self._scorer.rebase(torch.where(there, self._ends.scan, self._ends.reference))
        self._here = state

    def _go(self, state: Context) -> None:
        """Move the scan from its current state to another one by commits."""
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
    """One state of a node: some of its parts are present.

    Attributes
    ----------
    subset : int
        The parts that are present, as bits.
    wanted : list of int
        Parts whose addition to the subset has to be scored.
    inner : list of int
        Absent parts that have parts of their own, which are visited in this state.
    """

    subset: int
    wanted: list[int]
    inner: list[int]


def _steps(node: Node) -> Iterator[_Step]:
    """Yield the subsets of the parts in which something has to be scored, in the order of a Gray code.

    Neighbours in that order differ by one part, so going from one to the next is cheap. Some subset with
    one part less always comes earlier, so the score of each subset is known when its turn comes.
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
    """Return the share of orders in which just ``present`` given parts come before another one."""
    return factorial(present) * factorial(parts - present - 1) / factorial(parts)


def _add_leaves(node: Node, known: dict[int, float], weight: float, values: np.ndarray) -> None:
    """Add to ``values`` what each part that is a single player contributes to subsets of the others."""
    count = len(node.parts)
    shares = [weight * _share(count, size) for size in range(count)]
    for i, part in enumerate(node.parts):
        if part.parts:
            continue
        without = [subset for subset in range(2**count) if not subset >> i & 1]
        values[part.low] += sum(
            shares[subset.bit_count()] * (known[subset | 1 << i] - known[subset]) for subset in without
        )
