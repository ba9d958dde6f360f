"""Decisive regions: few regions without which the class changes, or which alone keep it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.base import Explanation
from pyadx.explainers.flip_search import FlipReport, Kind, Search
from pyadx.explainers.option_kinds import choice, optional, whole
from pyadx.explainers.perturbation import Perturbation
from pyadx.explainers.players import (
    Choice,
    Players,
    players_of,
    regions_per_scan,
    segmentation_options,
    whole_from,
)
from pyadx.explainers.registry import Option, method
from pyadx.explainers.shared_options import (
    EngineOption,
    FillOption,
    MemoryOption,
    OutputOption,
    OutputsOption,
    PrecisionOption,
    ScoreOption,
)
from pyadx.explainers.volumes import check_volume
from pyadx.inference.batching import BatchSize
from pyadx.inference.engines import RegionScorer
from pyadx.inference.progress import progress_bar
from pyadx.inference.regions import Regions
from pyadx.inference.score import Target
from pyadx.inference.segments import distinct_segments
from pyadx.segmentation.options import Linkage


@method(
    "flip",
    title="Decisive regions",
    answers="Which few regions decide the class?",
    cost="a fraction of a forward pass per region and step",
    presets={"keep": {"kind": "keep"}},
)
class RegionFlip(Perturbation):
    """Few regions that decide the class: filling them changes it, or keeping them alone preserves it.

    The search is greedy. In each step it takes the region that moves the score most in the current scan,
    until the class is decided. Then it drops regions that are not needed, the last taken first, and checks
    the result with a full forward pass. None of the regions that are left was found to be dispensable, but
    another set may be smaller. If the search decides nothing, the result has all regions that were taken.

    Sources: the question is that of Dabkowski and Gal, "Real Time Image Saliency for Black Box
    Classifiers", 2017 (smallest sufficient and destroying regions). The search is our own.

    Parameters
    ----------
    kind : {"remove", "keep"}
        ``remove``: filling the regions changes the class. ``keep``: filling all other regions does not
        change it.
    max_regions : int
        Number of regions in the cut of a hierarchy. Without effect on label volumes.
    most : int, optional
        Most regions to take.
    linkage : str, optional
        Option of `pyadx.segmentation.ucm`, which segments scans that are passed without regions.
    model, fill, score, outputs, output, engine, precision, max_memory, batch_size, progress, keep_trace
        As in `pyadx.explainers.perturbation.Perturbation`.
    spacing : float or sequence of float, optional
        Voxel size in mm, for that segmentation and for references that smooth.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        fill: FillOption = "local",
        *,
        kind: Annotated[
            Kind,
            Option(
                "Whether regions change the class when filled, or preserve it alone.",
                choice(get_args(Kind)),
            ),
        ] = "remove",
        max_regions: Annotated[int, Option("Number of regions of the scan's segmentation.", whole(2))] = 50,
        most: Annotated[int | None, Option("Most regions to take.", optional(whole(1)))] = None,
        linkage: Annotated[
            str | None, Option("How regions merge.", optional(choice(get_args(Linkage))))
        ] = None,
        engine: EngineOption = "auto",
        score: ScoreOption = "log_odds",
        outputs: OutputsOption = "logits",
        output: OutputOption = None,
        batch_size: BatchSize = "auto",
        progress: bool | None = None,
        precision: PrecisionOption = "float32",
        max_memory: MemoryOption = None,
        spacing: float | Sequence[float] | None = None,
        keep_trace: bool = False,
    ) -> None:
        super().__init__(
            model, fill=fill, signed=True, score=score, outputs=outputs, output=output, engine=engine,
            precision=precision, max_memory=max_memory, batch_size=batch_size, progress=progress,
            keep_trace=keep_trace, spacing=spacing,
        )  # fmt: skip
        if kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        self.kind: Kind = kind
        self.max_regions = whole_from("max_regions", max_regions, 2)
        self.most = None if most is None else whole_from("most", most, 1)
        self.linkage = linkage
        segmentation = segmentation_options(linkage, spacing, self.max_regions)
        self._choice = Choice(self.max_regions, segmentation=segmentation)

    def run(
        self,
        volume: Tensor | np.ndarray,
        target: Target = None,
        regions: Any = None,
        *,
        names: Mapping[int, str] | None = None,
        mask: Any = None,
        reference: Any = None,
        forward_args: Any = None,
    ) -> Explanation:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume, target, regions, names, mask, reference, forward_args
            As in `pyadx.RegionShapley.run`. The result has no regions if the model does not predict the
            target (``remove``), or predicts it with all regions filled, too (``keep``).

        Returns
        -------
        Explanation
            With a `FlipReport` per scan. The map shows in every decisive region how much it moved the
            score, and is 0 elsewhere.

        Raises
        ------
        TypeError, ValueError
            If the volume, target, fill, mask or regions do not fit, there are fewer than two regions, or
            the model predicts numbers instead of classes.
        """
        volume = check_volume(volume, self.model)
        own = regions_per_scan(regions, volume)

        def explain(
            place: int, scan: Tensor, make: Callable[[], RegionScorer], inside: np.ndarray | None
        ) -> tuple[Tensor, RegionScorer, FlipReport]:
            players = players_of(own[place], scan, names, inside, self._choice)
            return self._one(scan, make, players)

        return self._over_scans(volume, target, mask, reference, forward_args, explain)

    def _one(
        self, scan: Tensor, make: Callable[[], RegionScorer], players: Players
    ) -> tuple[Tensor, RegionScorer, FlipReport]:
        scorer = make()
        if self.score == "output":
            raise ValueError("decisive regions need classes; a network that predicts numbers has none")
        regions = distinct_segments(scorer.volume, players.numbers, players.intervals, scorer.fill)
        start, filled, score = scorer.volume.clone(), scorer.filled(regions), scorer.reference
        search = Search(scorer, regions, start, filled, self.kind)
        with progress_bar("regions", len(regions.boxes), self._run.progress) as advance:
            search.run(len(regions.boxes) if self.most is None else self.most, advance)
        report, heat = self._report_and_map(search, players, regions, score)
        scorer.refill(filled)
        scorer.rebase(start)
        return heat.to(scan.device), scorer, report

    def _report_and_map(
        self, search: Search, players: Players, regions: Regions, score: float
    ) -> tuple[FlipReport, Tensor]:
        player_of = np.full(len(regions.boxes), -1)
        for player, place in enumerate(regions.inverse):
            if place >= 0:
                player_of[place] = player
        chosen = [int(player_of[place]) for place in search.taken]
        values = np.zeros(len(players) + 1)
        values[[player + 1 for player in chosen]] = search.changes
        report = FlipReport(
            self.kind,
            tuple(players.labels[player] for player in chosen),
            tuple(players.names[player] for player in chosen),
            np.asarray(search.changes),
            score,
            search.score,
            search.decided,
            search.pruned,
            max(search.evaluations, 1),
            max(search.evaluations, 1),
        )
        return report, torch.from_numpy(values[players.numbers].astype(np.float32))


def decisive_regions(
    model: nn.Module,
    volume: Tensor | np.ndarray,
    target: Target = None,
    regions: Any = None,
    *,
    keep: bool = False,
    names: Mapping[int, str] | None = None,
    **options: Any,
) -> FlipReport:
    """Return few regions of one scan without which its class changes, or which alone keep it.

    Parameters
    ----------
    model : torch.nn.Module
        As in `RegionFlip`.
    volume, target, regions, names
        As in `RegionFlip.run`, for one scan.
    keep : bool
        Look for regions that keep the class when all others are filled.
    **options
        Options of `RegionFlip`, such as ``fill="controls"``.

    Returns
    -------
    FlipReport
        The regions, in the order in which they were taken.

    Raises
    ------
    TypeError, ValueError
        As `RegionFlip`, or if there is more than one scan.
    """
    found = RegionFlip(model, kind="keep" if keep else "remove", **options).run(
        volume, target, regions, names=names
    )
    if len(found.reports) != 1:
        raise ValueError(f"decisive_regions takes one scan, got {len(found.reports)}")
    (report,) = found.reports
    assert isinstance(report, FlipReport)
    return report
