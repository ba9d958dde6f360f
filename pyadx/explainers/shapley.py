"""Shapley values of regions, and Owen values where the regions are those of a hierarchy."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.base import Explanation
from pyadx.explainers.option_kinds import choice, number, optional, whole
from pyadx.explainers.perturbation import Perturbation, Store
from pyadx.explainers.players import (
    Order,
    Players,
    players_of,
    regions_per_scan,
    segmentation_options,
    whole_from,
)
from pyadx.explainers.registry import Option, method
from pyadx.explainers.shapley_report import ShapleyReport
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
from pyadx.explainers.walks import Ends, Estimate, estimate, spread_over, walk
from pyadx.inference.batching import BatchSize
from pyadx.inference.engines import RegionScorer
from pyadx.inference.progress import progress_bar
from pyadx.inference.regions import Regions
from pyadx.inference.score import Target
from pyadx.inference.score_store import ScoreStore
from pyadx.inference.scoring_facts import scoring_facts
from pyadx.inference.segments import distinct_segments
from pyadx.ops.numbers import real_number
from pyadx.segmentation.options import Linkage

Shown = Literal["region", "voxel"]


@method(
    "shapley",
    title="Shapley values of regions",
    answers="How much of the score is each region's share, together with all others?",
    cost="a share of a forward pass per region and order",
    presets={"twosided": {"pairs": 0}},
)
class RegionShapley(Perturbation):
    """Shapley values: the mean contribution of a region over all orders in which regions are filled.

    One-at-a-time changes do not add up: what two regions hold in common shows in neither, or in both.
    Shapley values add up to ``s(scan) - s(scan with all regions filled)``. For regions of a hierarchy
    orders keep the parts of every node together, which gives Winter's (nested Owen) values: a region is
    first compared with its siblings. Estimated from pairs of an order and its reverse, each a walk from
    the scan to the filled scan and back. Sources: Shapley, "A value for n-person games", 1953; Winter, "A
    value for cooperative games with levels structure of cooperation", 1989.

    Parameters
    ----------
    max_regions : int
        Regions of the cut of a hierarchy, where no label volume is given.
    pairs : int
        Pairs of orders at most; 0: two-sided occlusion, the mean of what a region changes in the scan and
        in the filled scan. That is the Shapley value where regions interact in pairs only.
    error : float, optional
        Stop when no standard error is larger, in units of the score.
    order : {"tree", "flat"}
        Which orders are drawn where regions come from a hierarchy; all orders where there is none.
    show : {"region", "voxel"}
        The map: every voxel has the value of its region, or its share of it.
    seed : int
        The same seed draws the same orders.
    linkage : str, optional
        How scans that come without regions are segmented, as in `pyadx.segmentation.ucm`.
    model, fill, score, outputs, output, engine, precision, max_memory, batch_size, progress, keep_trace
        As in `pyadx.explainers.perturbation.Perturbation`.
    spacing : float or sequence of float, optional
        Voxel size in mm.

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
        max_regions: Annotated[int, Option("Regions of the scan's segmentation.", whole(2))] = 50,
        pairs: Annotated[int, Option("Pairs of orders at most; 0: two-sided occlusion.", whole(0))] = 16,
        error: Annotated[
            float | None, Option("Largest standard error that is good enough.", optional(number(above=0)))
        ] = None,
        order: Annotated[Order, Option("Orders that are drawn.", choice(get_args(Order)))] = "tree",
        show: Annotated[
            Shown, Option("Whether voxels show their region's value or a share.", choice(get_args(Shown)))
        ] = "region",
        seed: Annotated[int, Option("Decides the orders.", whole(0))] = 0,
        linkage: Annotated[
            str | None, Option("How regions merge.", optional(choice(get_args(Linkage))))
        ] = None,
        engine: EngineOption = "auto",
        score: ScoreOption = "log_odds",
        outputs: OutputsOption = "logits",
        output: OutputOption = None,
        batch_size: BatchSize = "auto",
        progress: bool = False,
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
        self.max_regions = whole_from("max_regions", max_regions, 2)
        self.pairs = whole_from("pairs", pairs, 0)
        self.seed = whole_from("seed", seed, 0)
        self.error = None if error is None else real_number(error)
        if error is not None and (self.error is None or not self.error > 0):
            raise ValueError(f"error must be a positive number, got {error!r}")
        for name, value, kind in (("order", order, Order), ("show", show, Shown)):
            if value not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
        self.order: Order = order
        self.show: Shown = show
        self.linkage = linkage
        self._segmentation = segmentation_options(linkage, spacing, self.max_regions)

    @property
    def resumable(self) -> bool:
        """Pairs of orders are kept as scores of windows are."""
        return self.pairs > 0

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
        store: str | Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> Explanation:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume, target, mask, reference, forward_args, store, resume, overwrite
            As in `pyadx.SupervoxelOcclusion.run`.
        regions : array, Tensor, Hierarchy or sequence of Hierarchy, optional
            What shares out the change: a label volume ``[D, H, W]`` on the scan's voxels, every number
            above 0 a region, one for all scans or ``[B, D, H, W]``; or a hierarchy, of which a cut is
            taken. Without it `pyadx.segmentation.ucm` segments the first channel of each scan where it is
            not zero.
        names : mapping, optional
            Number in the label volume to name.

        Returns
        -------
        Explanation
            With a `ShapleyReport` per scan.

        Raises
        ------
        TypeError, ValueError
            If the volume, target, fill or regions do not fit, or there are fewer than two regions.
        """
        volume = check_volume(volume, self.model)
        own = regions_per_scan(regions, volume)
        if store is not None and volume.shape[0] != 1:
            raise ValueError("a store holds the scores of one scan: no batches")
        kept = Store(None if store is None else Path(store), resume, overwrite)

        def explain(
            place: int, scan: Tensor, make: Callable[[], RegionScorer], inside: np.ndarray | None
        ) -> tuple[Tensor, RegionScorer, ShapleyReport]:
            players = players_of(own[place], scan, names, inside, self.max_regions, self._segmentation)
            return self._one(scan, make, players, kept)

        return self._over_scans(volume, target, mask, reference, forward_args, explain)

    def _one(
        self, scan: Tensor, make: Callable[[], RegionScorer], players: Players, store: Store
    ) -> tuple[Tensor, RegionScorer, ShapleyReport]:
        scorer = make()
        regions = distinct_segments(scorer.volume, players.numbers, players.intervals, scorer.fill)
        fast = int(scorer.incremental(regions.boxes).sum())
        facts = scoring_facts(scorer, regions)
        alone = regions.spread(scorer.score_regions(regions)).double().cpu().numpy()
        start, reference = scorer.volume.clone(), scorer.filled(regions)
        score = scorer.reference
        scorer.rebase(reference)
        ends = Ends(start, reference, score, scorer.reference)
        scorer.refill(start)
        first = -regions.spread(scorer.score_regions(regions)).double().cpu().numpy()
        found = self._estimate(scorer, regions, players, ends, facts, store)
        if found is None:
            found = Estimate((alone + first) / 2, np.full(len(players), np.nan), 0, 0.0)
        scorer.rebase(start)
        report = ShapleyReport(
            labels=players.labels,
            names=players.names,
            values=found.values,
            errors=found.errors,
            alone=alone,
            first=first,
            voxels=np.bincount(players.numbers.reshape(-1), minlength=len(players) + 1)[1:],
            score=score,
            reference_score=ends.reference_score,
            pairs=found.pairs,
            order=self.order if players.splits else "flat",
            drift=found.drift,
            incremental=fast,
            full=len(regions.boxes) - fast,
        )
        heat = spread_over(players.numbers, found.values, self.show == "voxel").to(scan.device)
        return heat, scorer, report

    def _estimate(
        self,
        scorer: RegionScorer,
        regions: Regions,
        players: Players,
        ends: Ends,
        facts: dict[str, Any],
        store: Store,
    ) -> Estimate | None:
        """Walk through orders of the regions; those that change nothing have no part in it."""
        if not self.pairs or not len(regions.boxes):
            return None
        places = regions.inverse

        def draw(pair: int) -> tuple[np.ndarray, np.ndarray, float]:
            order = places[players.order(self.order, np.random.default_rng([self.seed, pair]))]
            leaving, coming, drift = walk(scorer, regions, order[order >= 0], ends)
            spread = [np.where(places >= 0, steps[places], 0.0) for steps in (leaving, coming)]
            return spread[0], spread[1], drift

        with progress_bar("pairs of orders", self.pairs, self._run.progress) as advance:
            if store.path is None:
                return estimate(draw, self.pairs, self.error, advance)
            facts = {**facts, "shapley": {"order": self.order, "seed": self.seed, "splits": players.splits}}
            with ScoreStore(store.path, facts, resume=store.resume, overwrite=store.overwrite) as kept:
                return estimate(_remembered(draw, kept), self.pairs, self.error, advance)


def _remembered(
    draw: Callable[[int], tuple[np.ndarray, np.ndarray, float]], kept: ScoreStore
) -> Callable[[int], tuple[np.ndarray, np.ndarray, float]]:
    """Return what draws a pair of orders, or reads it where it was drawn before."""

    def own(pair: int) -> tuple[np.ndarray, np.ndarray, float]:
        if pair >= kept.chunks:
            leaving, coming, drift = draw(pair)
            kept.append(torch.from_numpy(np.concatenate([leaving, coming, [drift]])))
        values = kept.read(pair).numpy()
        half = len(values) // 2
        return values[:half], values[half:-1], float(values[-1])

    return own
