"""Rows of shapley_peers.py that run on our engine: `RegionShapley`, and others' estimators on our game."""

import time

import numpy as np
from shapley_estimators import Task, shap_partition
from shapley_game import evaluations_of_all

import pyadx
from pyadx.explainers.players import Choice, players_of_tree
from pyadx.explainers.references import fill_of
from pyadx.inference.engines import RegionScorer
from pyadx.inference.segments import distinct_segments

TARGET = 1  # AD
_OF_SHAPIQ = 4  # evaluations per region of its approximators


def ours(case, players, order, pairs):
    """Measure `RegionShapley` as a whole: tracing, both ends and the walks."""
    explain = pyadx.RegionShapley(
        case.model, "local", max_regions=players, pairs=pairs, order=order, spacing=case.spacing
    )
    watch = Watch()
    report = explain.run(case.volume, TARGET, case.tree).reports[0]
    line = watch.line(report.size.coalitions if report.exact else 2 * len(report.values) * pairs)
    return line | {
        "values": report.values.tolist(), "errors": report.errors.tolist(), "order": order,
        "change": report.change, "drift": report.drift, "incremental": report.incremental,
        "full": report.full, "repeats": pairs,
    }  # fmt: skip


def of_shapiq(case, players, method, repeats):
    """Measure an approximator of shapiq on the incremental engine; includes making the game."""
    import shapiq

    found = []
    watch = Watch()
    game = our_game(case, players)
    for seed in range(1, repeats + 1):
        estimate = getattr(shapiq, method)(n=players, random_state=seed)
        values = estimate.approximate(_OF_SHAPIQ * players, game)
        found.append([values[(player,)] for player in range(players)])
    own = game.coalitions
    return watch.line(repeats * _OF_SHAPIQ * players) | {
        "values": np.mean(found, 0).tolist(), "order": "flat", "repeats": repeats,
        "errors": (np.std(found, 0, ddof=1) / np.sqrt(repeats)).tolist(),
        "commits": own.commits, "forwards": own.forwards, "drift": own.drift,
    }  # fmt: skip


def our_game(case, players):
    return pyadx.shapiq_game(
        case.model, case.volume, TARGET, case.tree, max_regions=players, spacing=case.spacing
    )


class _Present:
    """Our game with the call that SHAP expects."""

    def __init__(self, game):
        self.game, self.players = game, game.n_players

    def __call__(self, present):
        return self.game(np.asarray(present))


def partition_on_ours(case, players, splits, spends):
    """Measure SHAP's recursion over the tree on the incremental engine; includes making the game."""
    exact = evaluations_of_all(players, splits)
    watch = Watch()
    game = our_game(case, players)
    values = shap_partition(Task(_Present(game), splits, spends, 0))
    own = game.coalitions
    return watch.line(spends) | {
        "values": values.tolist(), "order": "tree", "repeats": 1, "exact_at": exact,
        "commits": own.commits, "forwards": own.forwards, "drift": own.drift,
    }  # fmt: skip


def boxes(case, players):
    """Return what a commit costs, and why: regions fill a small part of the boxes that are recomputed."""
    made = players_of_tree(case.tree, Choice(players), None)
    fill = fill_of("local", case.volume[0], case.model, spacing=case.spacing)
    scorer = RegionScorer("auto", case.model, case.volume[0], TARGET, fill=fill, score="log_odds")
    regions = distinct_segments(scorer.volume, made.numbers, made.intervals, scorer.fill)
    sizes = (regions.boxes[:, 3:] - regions.boxes[:, :3]).prod(1)
    brain = int((made.numbers > 0).sum())
    scorer.commit(regions.part(np.array([0])))  # computes the maps that later commits update
    watch = Watch()
    scorer.commit(regions.part(np.arange(1, len(sizes))))
    commits = watch.line(len(sizes) - 1)
    watch = Watch()
    scorer.rebase()
    return {
        "regions": players,
        "box, % of the brain": f"{100 * sizes.mean() / brain:.0f}",
        "filled by the region, % of the box": f"{100 * brain / sizes.sum():.1f}",
        "predicted gain": f"{1 / np.mean(1 / scorer.gains(regions.boxes)):.1f}",
        "ms per commit": f"{1000 * commits['seconds'] / commits['evaluations']:.0f}",
        "ms per forward by pyadx": f"{1000 * watch.line(1)['seconds']:.0f}",
    }


class Watch:
    """CPU seconds of this process, and wall-clock seconds."""

    def __init__(self):
        self.started = time.process_time(), time.monotonic()

    def line(self, evaluations):
        seconds = time.process_time() - self.started[0]
        clock = time.monotonic() - self.started[1]
        return {"evaluations": int(evaluations), "seconds": round(seconds, 3), "clock": round(clock, 3)}
