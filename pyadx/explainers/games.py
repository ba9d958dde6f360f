"""Regions of a scan as the players of a shapiq game."""

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
    """Return the regions of one scan as a shapiq game, so shapiq's approximators run on pyadx's engine.

    A coalition holds the regions that are present; all others are filled. Its value is the class score of
    that scan. If few regions differ from the coalition that was scored before, it is computed by commits
    (`pyadx.inference.IncrementalScorer.commit`), otherwise by a full forward pass. Needs shapiq
    (``pip install 'pyadx[shapiq]'``). Source: Muschalik et al., "shapiq: Shapley interactions for machine
    learning", NeurIPS 2024.

    Parameters
    ----------
    model, volume, target, regions, names
        As `pyadx.RegionShapley` and its `run` take them; one scan.
    fill, max_regions, score, outputs, output, engine, precision, max_memory, spacing
        As in `pyadx.RegionShapley`.
    normalize : bool
        Subtract the value of the empty coalition, in which all regions are filled.
    forward_args : mapping, sequence or Tensor, optional
        Further inputs of the model (`pyadx.inference.forward_arguments`).

    Returns
    -------
    shapiq.Game
        With two further attributes: ``players`` holds the numbers, labels and names of the regions;
        ``coalitions`` (`pyadx.explainers.coalition_scores.Coalitions`) the scores of both ends, the largest
        rounding error, and how many commits and forward passes were made.

    Raises
    ------
    TypeError, ValueError
        If shapiq is not installed, an input does not fit, or there are fewer than two regions.
    """
    game = _game_class()
    volume = check_volume(volume, model)
    if len(volume) != 1:
        raise ValueError(f"shapiq_game takes one scan, got a batch of {len(volume)}")
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
    """Return the class of the game. shapiq is imported only here, since it is an optional dependency.

    Raises
    ------
    ValueError
        If shapiq is not installed.
    """
    with needed_for("shapiq_game"):
        from shapiq import Game

    class RegionGame(Game):
        """A shapiq game whose coalitions are scored by pyadx."""

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
