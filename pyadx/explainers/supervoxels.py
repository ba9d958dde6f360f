"""The paper's SA-3DUCM: sensitivity to occluding every segment of a hierarchy (section 3.3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.base import Explanation
from pyadx.explainers.interactions import MergeInteractions, merge_interactions
from pyadx.explainers.option_kinds import choice, number, optional, whole
from pyadx.explainers.perturbation import Perturbation, Store
from pyadx.explainers.registry import Option, method
from pyadx.explainers.segments import Aggregate, group_mask, hierarchies_per_scan, paint, segmented_part
from pyadx.explainers.shared_options import (
    EngineOption,
    FillOption,
    MemoryOption,
    OutputOption,
    OutputsOption,
    PrecisionOption,
    ScoreOption,
    SignedOption,
)
from pyadx.explainers.volumes import check_volume
from pyadx.inference.batching import BatchSize
from pyadx.inference.engines import RegionScorer
from pyadx.inference.score import Target
from pyadx.inference.segments import distinct_segments
from pyadx.ops.numbers import real_number, whole_number
from pyadx.segmentation import PRESETS, Hierarchy, ucm
from pyadx.segmentation.options import CueKind, Linkage, check_options

Groups = Mapping[str, Any]


@dataclass(frozen=True)
class SupervoxelReport:
    """How the SA-3DUCM map of one scan was made.

    Attributes
    ----------
    levels : int
        Levels of the hierarchy.
    pairs : int
        Segments over all levels: the forward passes of a plain implementation.
    nodes : int
        Distinct segments among them.
    skipped : int
        Distinct segments that change no voxel, or the same voxels as another.
    incremental, full : int
        Segments that were scored by each engine.
    groups : dict
        Score of each of the groups passed to `SupervoxelOcclusion.run`, by name.
    interactions : MergeInteractions or None
        Interactions between the parts of every segment; None if scores are not signed.
    """

    levels: int
    pairs: int
    nodes: int
    skipped: int
    incremental: int
    full: int
    groups: dict[str, float] = field(default_factory=dict)
    interactions: MergeInteractions | None = field(default=None, compare=False, repr=False)

    @property
    def evaluations(self) -> int:
        """One per segment of every level."""
        return self.pairs

    @property
    def evaluated(self) -> int:
        """One per distinct segment that was scored."""
        return self.incremental + self.full

    @property
    def approximate(self) -> bool:
        """Never: every segment is scored."""
        return False

    def facts(self) -> dict[str, Any]:
        """Return the counts, and the scores of groups and the strongest interactions if there are any."""
        own = {name: value for name, value in vars(self).items() if name != "interactions" and value != {}}
        if self.interactions is not None and len(self.interactions.values):
            own["interactions"] = self.interactions.strongest()
        return own

    def summary(self) -> str:
        """Say how many segments there were, and how many had no effect."""
        return (
            f"{self.pairs} segments on {self.levels} levels, {self.nodes} distinct, "
            f"{self.skipped} without effect"
        )


@method(
    "sa3ducm",
    title="SA-3DUCM",
    answers="How much does the class score change when segments of several scales are filled?",
    cost="a fraction of a forward pass per segment",
    presets={
        "paper": {
            "fill": 0.0, "aggregate": "mean", "signed": False, "score": "probability", "max_levels": 20,
            "max_regions": 500,
        }
    },
)  # fmt: skip
class SupervoxelOcclusion(Perturbation):
    """SA-3DUCM: occludes every segment of every level of a hierarchical segmentation.

    ``H(v) = 1/L sum_l [s(V) - s(V with the segment of level l that holds v filled)]`` over the L levels.
    By default ``s`` is the log-odds of the class, and segments are filled with the scan's local mean. The
    preset ``paper`` fills with 0 and takes the absolute change of the probability (section 3.3). A segment
    that occurs on several levels is scored once. The map is 0 outside the hierarchy.

    Parameters
    ----------
    aggregate : {"mean", "max"}
        How scores are combined over the levels: the mean (the paper), or the one of largest absolute value.
    max_levels, max_regions, preset, cue, linkage, min_size, smoothing
        Options of `pyadx.segmentation.ucm`, which segments scans that are passed without a hierarchy.
    spacing : float or sequence of float, optional
        Voxel size in mm, for that segmentation and for references that smooth.
    model, fill, signed, score, outputs, output, engine, precision, max_memory, batch_size, progress
        As in `pyadx.explainers.perturbation.Perturbation`.
    keep_trace
        As in `pyadx.explainers.perturbation.Perturbation`.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        fill: FillOption = "local",
        aggregate: Annotated[
            Aggregate, Option("How scores are combined over the levels.", choice(get_args(Aggregate)))
        ] = "mean",
        signed: SignedOption = True,
        *,
        max_levels: Annotated[int, Option("Most levels of the hierarchy.", whole())] = 20,
        max_regions: Annotated[int, Option("Most regions of the finest level.", whole())] = 500,
        preset: Annotated[str, Option("How the scan is segmented.", choice(list(PRESETS)))] = "default",
        cue: Annotated[
            str | None, Option("Boundary cue; none: the preset's.", optional(choice(get_args(CueKind))))
        ] = None,
        linkage: Annotated[
            str | None,
            Option("How regions merge; none: the preset's.", optional(choice(get_args(Linkage)))),
        ] = None,
        min_size: Annotated[
            int | None, Option("Voxels of the smallest region; none: the preset's.", optional(whole(0)))
        ] = None,
        smoothing: Annotated[
            float | None, Option("Voxels of smoothing; none: the preset's.", optional(number(least=0)))
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
        if aggregate not in get_args(Aggregate):
            raise ValueError(
                f"aggregate must be one of {', '.join(get_args(Aggregate))}, got {aggregate!r}"
            )
        super().__init__(
            model, fill=fill, signed=signed, score=score, outputs=outputs, output=output, engine=engine,
            precision=precision, max_memory=max_memory, batch_size=batch_size, progress=progress,
            keep_trace=keep_trace, spacing=spacing,
        )  # fmt: skip
        self._segmentation: dict[str, Any] = {
            "max_levels": max_levels, "max_regions": max_regions, "preset": preset, "cue": cue,
            "linkage": linkage, "min_size": min_size, "smoothing": smoothing, "spacing": spacing,
        }  # fmt: skip
        check_options(**self._segmentation)
        self.aggregate: Aggregate = aggregate
        self.max_levels = whole_number(max_levels)
        self.max_regions = whole_number(max_regions)
        self.preset = preset
        self.cue = cue
        self.linkage = linkage
        self.min_size = None if min_size is None else whole_number(min_size)
        self.smoothing = None if smoothing is None else real_number(smoothing)

    @property
    def resumable(self) -> bool:
        """Always true: scores of segments can be stored."""
        return True

    def run(
        self,
        volume: Tensor | np.ndarray,
        target: Target = None,
        hierarchy: Hierarchy | Sequence[Hierarchy] | None = None,
        *,
        groups: Groups | None = None,
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
        volume : Tensor or numpy.ndarray
            ``[B, C, D, H, W]`` or ``[C, D, H, W]``. Floating-point tensors must have the model's device and
            dtype. Arrays and integer tensors are converted.
        target : int, str, sequence, array or None
            Class to explain, for all scans or one per scan. ``None`` takes the predicted class of each
            scan.
        hierarchy : Hierarchy or sequence of Hierarchy, optional
            The segments on the scan's voxel grid, one hierarchy for all scans or one per scan. Without it
            `pyadx.segmentation.ucm` segments the first channel of each scan, wherever any channel differs
            from the background. Channels are not averaged: borders of opposite contrast (T1, T2) would
            cancel. To segment another channel pass ``ucm(scan[1])``.
        groups : mapping, optional
            Further regions to occlude as a whole, by name: a mask ``[D, H, W]``, such as all cortex, or
            leaves of the hierarchy as intervals ``[(lo, hi), ...]``. Their scores are in the reports, not
            in the map.
        mask : array or Tensor, optional
            Region of interest: ``[D, H, W]`` for all scans, or ``[B, D, H, W]``. Only its voxels are
            segmented; of the segments of a given hierarchy only the voxels inside it are filled. The map is
            0 outside.
        reference, forward_args
            As in `pyadx.Occlusion.run`.
        store, resume, overwrite
            As in `pyadx.Occlusion.run`.

        Returns
        -------
        Explanation
            With a `SupervoxelReport` per scan.

        Raises
        ------
        TypeError, ValueError
            If the volume, target, fill, mask, store, a hierarchy or a group does not fit.
        """
        volume = check_volume(volume, self.model)
        trees = hierarchies_per_scan(hierarchy, volume)
        if store is not None and volume.shape[0] != 1:
            raise ValueError("store= keeps the scores of one scan: pass one scan at a time")
        kept = Store(None if store is None else Path(store), resume, overwrite)

        def explain(
            place: int, scan: Tensor, make: Callable[[], RegionScorer], inside: np.ndarray | None
        ) -> tuple[Tensor, RegionScorer, SupervoxelReport]:
            return self._one(scan, make, trees[place], groups or {}, inside, kept)

        return self._over_scans(volume, target, mask, reference, forward_args, explain)

    def _one(
        self,
        scan: Tensor,
        make: Callable[[], RegionScorer],
        tree: Hierarchy | None,
        groups: Groups,
        inside: np.ndarray | None,
        store: Store,
    ) -> tuple[Tensor, RegionScorer, SupervoxelReport]:
        if tree is None:
            tree = ucm(scan[0].float(), segmented_part(scan, inside), **self._segmentation)
        masks = {name: group_mask(name, group, tree) for name, group in groups.items()}
        scorer = make()
        leaves = tree.leaves if inside is None else np.where(inside, tree.leaves, 0)
        regions = distinct_segments(scorer.volume, leaves, tree.regions, scorer.fill)
        scores = self._scores(scorer, regions, store).double().cpu().numpy()
        fast = int(scorer.incremental(regions.boxes).sum())
        report = SupervoxelReport(
            levels=len(tree.levels),
            pairs=int(tree.levels_per_region.sum()),
            nodes=len(tree.regions),
            skipped=len(tree.regions) - len(regions.boxes),
            incremental=fast,
            full=len(regions.boxes) - fast,
            groups={name: self._jointly(scorer, group) for name, group in masks.items()},
            interactions=merge_interactions(tree.regions, scores) if self.signed else None,
        )
        heat = torch.from_numpy(paint(tree, scores, self.aggregate)).to(scan.device)
        return heat, scorer, report

    def _jointly(self, scorer: RegionScorer, group: np.ndarray) -> float:
        """Return the score of filling all voxels of a group at once."""
        regions = distinct_segments(scorer.volume, group, [(1, 2)], scorer.fill)
        return float(self._scores(scorer, regions, Store())[0])
