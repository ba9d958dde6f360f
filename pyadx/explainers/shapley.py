"""Shapley values of regions; for the regions of a hierarchy, Winter's (nested Owen) values."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from torch import Tensor, nn

from pyadx.explainers.base import Explanation
from pyadx.explainers.game import Game
from pyadx.explainers.option_kinds import choice, number, optional, whole
from pyadx.explainers.pairwise import pair_interactions
from pyadx.explainers.perturbation import Perturbation, Store
from pyadx.explainers.players import (
    Choice,
    Groups,
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
from pyadx.explainers.walks import Estimate, estimate, spread_over
from pyadx.inference.batching import BatchSize
from pyadx.inference.engines import RegionScorer
from pyadx.inference.progress import progress_bar
from pyadx.inference.score import Target
from pyadx.ops.numbers import real_number
from pyadx.segmentation.options import Linkage

Shown = Literal["region", "voxel"]
Kind = Literal["region", "group"]


@method(
    "shapley",
    title="Shapley values of regions",
    answers="How much does each region contribute to the score, together with all others?",
    cost="a fraction of a forward pass per region and order",
    presets={"twosided": {"pairs": 0}},
)
class RegionShapley(Perturbation):
    """Shapley values: the mean contribution of a region over all orders in which regions are filled.

    Regions are the players of a cooperative game. A coalition is a set of regions that are present, while
    all others are filled; it is worth the class score ``s`` of that scan. Shapley values add up to
    ``s(scan) - s(scan with all regions filled)``. Occlusion of single regions does not: evidence that two
    regions share shows in neither, or in both. For regions of a hierarchy only orders count that keep the
    parts of every node together. This gives Winter's (nested Owen) values: a region is compared with its
    siblings first.

    Values are exact if scoring every coalition that matters takes no more scores than the orders would.
    Otherwise they are estimated from pairs of an order and its reverse.

    Sources: Shapley, "A value for n-person games", 1953; Winter, "A value for cooperative games with levels
    structure of cooperation", 1989.

    Parameters
    ----------
    max_regions : int
        Number of regions in the cut of a hierarchy. Without effect on label volumes.
    pairs : int
        Most pairs of orders. 0 gives two-sided occlusion: the mean of what a region changes in the scan and
        in the filled scan. It equals the Shapley value if regions interact in pairs only.
    error : float, optional
        Draw no more orders once every standard error is at most this, in units of the score.
    exact : int, optional
        Most coalitions that exact values may take; if they take more, orders are drawn. 0 always draws. By
        default as many as all pairs of orders would score.
    order : {"tree", "balanced", "flat"}
        The orders that count. ``tree``: those that keep the parts of every node of the hierarchy, or the
        members of every group, together. ``balanced``: those of a flatter tree over the same leaves, for
        which exact values are cheap. ``flat``: all.
    players : {"region", "group"}
        Whether each region is a player, or each group of regions.
    interactions : int
        Number of strongest regions whose pairwise interactions are measured, too.
    show : {"region", "voxel"}
        The map: ``region`` gives every voxel the value of its region, ``voxel`` that value divided by the
        region's number of voxels.
    seed : int
        Seed of the orders.
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
        max_regions: Annotated[int, Option("Number of regions of the scan's segmentation.", whole(2))] = 50,
        pairs: Annotated[int, Option("Most pairs of orders; 0: two-sided occlusion.", whole(0))] = 16,
        error: Annotated[
            float | None, Option("Standard error at which to stop.", optional(number(above=0)))
        ] = None,
        exact: Annotated[
            int | None, Option("Most coalitions that exact values may take.", optional(whole(0)))
        ] = None,
        order: Annotated[Order, Option("The orders that count.", choice(get_args(Order)))] = "tree",
        players: Annotated[
            Kind, Option("Whether players are regions or groups of them.", choice(get_args(Kind)))
        ] = "region",
        interactions: Annotated[
            int, Option("Number of strongest regions to measure in pairs.", whole(0))
        ] = 10,
        show: Annotated[
            Shown, Option("Whether a voxel shows its region's value or its share.", choice(get_args(Shown)))
        ] = "region",
        seed: Annotated[int, Option("Seed of the orders.", whole(0))] = 0,
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
        self.max_regions = whole_from("max_regions", max_regions, 2)
        self.pairs = whole_from("pairs", pairs, 0)
        self.seed = whole_from("seed", seed, 0)
        self.interactions = whole_from("interactions", interactions, 0)
        self.exact = None if exact is None else whole_from("exact", exact, 0)
        self.error = None if error is None else real_number(error)
        if error is not None and (self.error is None or not self.error > 0):
            raise ValueError(f"error must be a positive number, got {error!r}")
        for name, value, kind in (
            ("order", order, Order),
            ("show", show, Shown),
            ("players", players, Kind),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
        self.order: Order = order
        self.show: Shown = show
        self.players: Kind = players
        self.linkage = linkage
        segmentation = segmentation_options(linkage, spacing, self.max_regions)
        self._choice = Choice(self.max_regions, order, players == "group", segmentation)

    @property
    def resumable(self) -> bool:
        """True unless ``pairs`` is 0: pairs of orders and exact values can be stored."""
        return self.pairs > 0

    def run(
        self,
        volume: Tensor | np.ndarray,
        target: Target = None,
        regions: Any = None,
        *,
        names: Mapping[int, str] | None = None,
        groups: Groups | None = None,
        pairwise: Sequence[int] | None = None,
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
            The regions. Either a label volume on the scan's voxel grid, in which every number above 0 is a
            region: ``[D, H, W]`` for all scans, or ``[B, D, H, W]``. Or a hierarchy, for all scans or one
            per scan, of which a cut is taken. Without it `pyadx.segmentation.ucm` segments the first
            channel of each scan, outside the background.
        names : mapping, optional
            Name of each number of the label volume.
        groups : mapping, optional
            Group of each number of the label volume: a name, or the names of nested groups, outermost
            first, such as hemisphere and lobe. With ``players="region"`` orders keep the members of a group
            together (Owen's and Winter's values). With ``"group"`` the outermost groups are the players.
        pairwise : sequence of int, optional
            Labels of the regions whose interactions are measured, instead of the strongest regions.

        Returns
        -------
        Explanation
            With a `ShapleyReport` per scan.

        Raises
        ------
        TypeError, ValueError
            If the volume, target, fill, mask, store, regions or groups do not fit, there are fewer than two
            regions, or ``players="group"`` comes without groups.
        """
        if self.players == "group" and not groups:
            raise ValueError("players=group needs the groups of labels (groups=, or --groups)")
        volume = check_volume(volume, self.model)
        own = regions_per_scan(regions, volume)
        if store is not None and volume.shape[0] != 1:
            raise ValueError("store= keeps the scores of one scan: pass one scan at a time")
        kept = Store(None if store is None else Path(store), resume, overwrite)

        def explain(
            place: int, scan: Tensor, make: Callable[[], RegionScorer], inside: np.ndarray | None
        ) -> tuple[Tensor, RegionScorer, ShapleyReport]:
            players = players_of(own[place], scan, names, inside, self._choice, groups)
            chosen = None if pairwise is None else players.places(pairwise)
            return self._one(scan, make, players, kept, chosen)

        return self._over_scans(volume, target, mask, reference, forward_args, explain)

    def _one(
        self,
        scan: Tensor,
        make: Callable[[], RegionScorer],
        players: Players,
        store: Store,
        chosen: Sequence[int] | None,
    ) -> tuple[Tensor, RegionScorer, ShapleyReport]:
        scorer = make()
        game = Game(scorer, players)
        fast = int(scorer.incremental(game.regions.boxes).sum())
        found = self._estimate(game, store)
        voxels = np.bincount(players.numbers.reshape(-1), minlength=len(players) + 1)[1:]
        report = ShapleyReport(
            labels=players.labels,
            names=players.names,
            members=players.members,
            values=found.values,
            errors=found.errors,
            alone=game.alone,
            first=game.first,
            voxels=voxels,
            score=game.ends.score,
            reference_score=game.ends.reference_score,
            pairs=found.pairs,
            exact=found.exact,
            order=self.order if players.splits else "flat",
            size=players.size,
            pairwise=pair_interactions(game, found.values, self.interactions, chosen),
            drift=found.drift,
            incremental=fast,
            full=len(game.regions.boxes) - fast,
        )
        game.reset()
        heat = spread_over(players.numbers, found.values, self.show == "voxel").to(scan.device)
        return heat, scorer, report

    def _estimate(self, game: Game, store: Store) -> Estimate:
        """Return exact values if they are cheap enough, otherwise means over orders."""
        players = game.players
        if not len(game.regions.boxes):
            return Estimate(np.zeros(len(players)), np.zeros(len(players)), 0, 0.0, True)
        exact = self._exactly(players)
        if not exact and not self.pairs:
            return Estimate((game.alone + game.first) / 2, np.full(len(players), np.nan), 0, 0.0)
        kind = {"order": self.order, "seed": self.seed, "splits": players.splits, "exact": exact}
        with game.kept(store, kind) as file:
            if exact:
                words = f"coalitions (depth {players.size.depth})"
                with progress_bar(words, players.size.coalitions, self._run.progress) as advance:
                    return game.exact(file, advance)
            with progress_bar("pairs of orders", self.pairs, self._run.progress) as advance:
                return estimate(game.drawn(self.seed, file), self.pairs, self.error, advance)

    def _exactly(self, players: Players) -> bool:
        size = players.size
        if self.exact is None:
            return size.coalitions <= 2 * self.pairs * len(players)
        if size.coalitions > self.exact > 0:
            warnings.warn(
                f"exact values take {size.words}, exact= allows {self.exact:,}: "
                f"{'orders are drawn' if self.pairs else 'two-sided occlusion is used'} instead; "
                "order='balanced', fewer regions or groups= take fewer coalitions",
                UserWarning,
                stacklevel=2,
            )
        return size.coalitions <= self.exact
