"""A scan as a cooperative game. Regions are players; a coalition is worth the score of the scan with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from pyadx.explainers.exact_shares import ExactShares
from pyadx.explainers.perturbation import Store
from pyadx.explainers.players import Players
from pyadx.explainers.walks import Estimate, Pair, ends_of, walk
from pyadx.inference.engines import RegionScorer
from pyadx.inference.score_store import ScoreStore
from pyadx.inference.scoring_facts import scoring_facts
from pyadx.inference.segments import distinct_segments


class Game:
    """The cooperative game of one scan. Players whose filling changes no voxel get 0.

    Attributes
    ----------
    scorer : RegionScorer
        Scores the regions. Its current scan and fill are those that the last operation left.
    players : Players
        The players.
    regions : pyadx.inference.regions.Regions
        Regions of the players that change a voxel. ``inverse`` gives the index of each player's region, or
        -1 if it changes none.
    ends : Ends
        The scan, and the scan with all regions filled.
    alone, first : ndarray
        float64 ``[K]``: how much the score falls when only this region is filled, and how much it rises
        when only this region is brought back into the filled scan.
    """

    def __init__(self, scorer: RegionScorer, players: Players) -> None:
        self.scorer, self.players = scorer, players
        self.regions = distinct_segments(scorer.volume, players.numbers, players.intervals, scorer.fill)
        self._facts = scoring_facts(scorer, self.regions)
        self.alone = self._changes()
        self._scan = scorer.snapshot(self.regions)
        self.ends = ends_of(scorer, self.regions)
        scorer.refill(self.ends.scan)
        self.first = -self._changes()

    def reset(self) -> None:
        """Return to the original scan, exactly as it was."""
        self.scorer.restore(self._scan)

    def _changes(self) -> np.ndarray:
        return self.regions.spread(self.scorer.score_regions(self.regions)).double().cpu().numpy()

    @contextmanager
    def kept(self, store: Store, kind: dict[str, Any]) -> Iterator[ScoreStore | None]:
        """Open the store of finished work; gives None if there is no file."""
        if store.path is None:
            yield None
            return
        facts = {**self._facts, "shapley": kind}
        with ScoreStore(store.path, facts, resume=store.resume, overwrite=store.overwrite) as file:
            yield file

    def exact(self, file: ScoreStore | None, advance: Callable[[int], None]) -> Estimate:
        """Compute exact values; ``advance`` is called with the number of coalitions just finished."""
        tree = self.players.tree
        intervals = np.array([[node.low + 1, node.high + 1] for node in tree.below()])
        nodes = distinct_segments(self.ends.reference, self.players.numbers, intervals, self.ends.scan)
        return ExactShares(self.scorer, nodes, tree, self.players.numbers, self.ends, file, advance).run()

    def drawn(self, seed: int, file: ScoreStore | None) -> Callable[[int], Pair]:
        """Return a function from the number of a pair of orders to its contributions.

        The function walks through the order and back, or reads the result from the store. The order depends
        only on ``seed`` and the number.
        """
        places = self.regions.inverse

        def draw(pair: int) -> Pair:
            self.reset()
            order = places[self.players.order(np.random.default_rng([seed, pair]))]
            leaving, coming, drift = walk(self.scorer, self.regions, order[order >= 0], self.ends)
            spread = [np.where(places >= 0, steps[places], 0.0) for steps in (leaving, coming)]
            return spread[0], spread[1], drift

        def remembered(pair: int) -> Pair:
            if file is None:
                return draw(pair)
            if pair >= file.chunks:
                leaving, coming, drift = draw(pair)
                file.append(torch.from_numpy(np.concatenate([leaving, coming, [drift]])))
            values = file.read(pair).numpy()
            half = len(values) // 2
            return values[:half], values[half:-1], float(values[-1])

        return remembered
