"""Regions of a scan as the players of another library's game."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from pyadx.explainers.coalition_scores import Coalitions
from pyadx.explainers.players import (
    Choice,
    Players,
    players_of,
    regions_per_scan,
    segmentation_options,
    whole_from,
)
from pyadx.explainers.references import Reference, fill_of, plain_reference
from pyadx.explainers.volumes import check_volume
from pyadx.extras import needed_for
from pyadx.inference.engines import Engine, RegionScorer
from pyadx.inference.incremental.options import Precision
from pyadx.inference.outputs import Output
from pyadx.inference.score import Outputs, Score, Target
from pyadx.inference.segments import distinct_segments


def shapiq_game(
    model: nn.Module,
    volume: Tensor | np.ndarray,
    target: Target = None,
    regions: Any = None,
    *,
    fill: Reference = "local",
    names: Mapping[int, str] | None = None,
    max_regions: int = 50,
    normalize: bool = True,
    score: Score = "log_odds",
    outputs: Outputs = "logits",
    output: Output = None,
    engine: Engine = "auto",
    precision: Precision = "float32",
    max_memory: int | None = None,
    forward_args: Any = None,
    spacing: float | Sequence[float] | None = None,
) -> Any:
    """Return the regions of one scan as a game of shapiq, whose approximators then run on our engine.

    A coalition holds the regions that are there; all others are filled. Its value is the score of that
    scan, by commits (`pyadx.inference.IncrementalScorer.commit`) where few regions differ from a coalition
    that was just scored, and by whole forwards where many do. Source of shapiq: Muschalik et al., "shapiq:
    Shapley interactions for machine learning", NeurIPS 2024 (``pip install 'pyadx[shapiq]'``).

    Parameters
    ----------
    model, volume, target, regions, names
        As `pyadx.RegionShapley` takes them; one scan.
    fill, max_regions, score, outputs, output, engine, precision, max_memory, spacing
        As in `pyadx.RegionShapley`.
    normalize : bool
        Subtract the value of the coalition that holds no region.
    forward_args : mapping, sequence or Tensor, optional
        What the model takes besides the scan.

    Returns
    -------
    shapiq.Game
        With ``players`` (numbers, labels and names of the regions) and ``coalitions``
        (`pyadx.explainers.coalition_scores.Coalitions`: scores of both ends, largest drift, commits,
        forwards).

    Raises
    ------
    TypeError, ValueError
        If shapiq is not installed, an input does not fit, or there are fewer than two regions.
    """
    game = _game_class()
    volume = check_volume(volume, model)
    if len(volume) != 1:
        raise ValueError(f"a game has one scan, got a batch of {len(volume)}")
    count = whole_from("max_regions", max_regions, 2)
    choice = Choice(count, segmentation=segmentation_options(None, spacing, count))
    own = regions_per_scan(regions, volume)[0]
    players = players_of(own, volume[0], names, None, choice)
    scorer = RegionScorer(
        engine, model, volume[0], target, precision=precision, max_memory=max_memory,
        fill=fill_of(plain_reference(fill), volume[0], model, spacing=spacing), signed=True, score=score,
        outputs=outputs, output=output, forward_args=forward_args,
    )  # fmt: skip
    found = distinct_segments(scorer.volume, players.numbers, players.intervals, scorer.fill)
    return game(players, Coalitions(scorer, found), normalize)


def _game_class() -> Any:
    """Return what makes a game; shapiq is loaded here, so that nobody else needs it.

    Raises
    ------
    ValueError
        If shapiq is not installed.
    """
    with needed_for("shapiq_game"):
        from shapiq import Game

    class RegionGame(Game):
        """Coalitions of regions, scored by our engine."""

        def __init__(self, players: Players, coalitions: Coalitions, normalize: bool) -> None:
            self.players = players
            self.coalitions = coalitions
            super().__init__(
                len(players),
                normalize=normalize,
                normalization_value=coalitions.ends.reference_score if normalize else None,
                player_names=list(players.names),
            )

        def value_function(self, coalitions: np.ndarray) -> np.ndarray:
            return self.coalitions.scores(np.asarray(coalitions, bool))

    return RegionGame
