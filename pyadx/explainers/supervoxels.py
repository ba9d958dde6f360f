"""The paper's SA-3DUCM: sensitivity to occluding every segment of a hierarchy (section 3.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.base import Explainer, Explanation
from pyadx.explainers.option_kinds import choice, number, optional, whole
from pyadx.explainers.options import RunOptions, plain_fill
from pyadx.explainers.registry import Option, method
from pyadx.explainers.segments import Aggregate, group_mask, hierarchies_per_scan, paint
from pyadx.explainers.shared_options import (
    EngineOption,
    FillOption,
    MemoryOption,
    OutputsOption,
    PrecisionOption,
    ScoreOption,
    SignedOption,
)
from pyadx.explainers.volumes import check_volume
from pyadx.inference.batching import BatchSize
from pyadx.inference.by_cost import SegmentScorer
from pyadx.inference.engine import check_engine
from pyadx.inference.incremental.scorer import check_max_memory, check_precision
from pyadx.inference.incremental.trace import KeptTrace
from pyadx.inference.score import Target, resolve_target, targets_per_scan
from pyadx.inference.watch import OutputWatch
from pyadx.ops.numbers import real_number, whole_number
from pyadx.segmentation import PRESETS, Hierarchy, ucm
from pyadx.segmentation.options import CueKind, Linkage, check_options

Groups = Mapping[str, Any]


@dataclass(frozen=True)
class SupervoxelReport:
    """How the map of one scan came about.

    Attributes
    ----------
    levels : int
        Levels of the hierarchy.
    pairs : int
        Segments over all levels; as many forwards as the method costs when done plainly.
    nodes : int
        Distinct segments among them.
    skipped : int
        Distinct segments that change no voxel, or the same voxels as another.
    incremental, full : int
        Segments that were scored by each engine.
    groups : dict
        Score of every group that was asked for.
    """

    levels: int
    pairs: int
    nodes: int
    skipped: int
    incremental: int
    full: int
    groups: dict[str, float] = field(default_factory=dict)

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
        """Return counts, and the scores of groups where there are any."""
        return {name: value for name, value in asdict(self).items() if value != {}}

    def summary(self) -> str:
        """Say how many segments there were."""
        return (
            f"{self.pairs} segments on {self.levels} levels, {self.nodes} distinct, "
            f"{self.skipped} without effect"
        )


@method(
    "sa3ducm",
    title="SA-3DUCM",
    answers="How far does the class score move when segments of several scales are filled?",
    cost="a share of a forward pass per segment",
    presets={
        "paper": {
            "fill": 0.0, "aggregate": "mean", "signed": False, "score": "probability", "max_levels": 20,
            "max_regions": 500,
        }
    },
)  # fmt: skip
class SupervoxelOcclusion(Explainer):
    """SA-3DUCM: occlude every segment of every level of a hierarchical segmentation.

    ``H(v) = 1/L sum_l |p(V) - p(V with the segment of level l that holds v filled)|`` over the L levels.
    A segment that several levels have in common is scored once. Voxels outside the hierarchy are 0.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    fill : float, sequence of float, array or Tensor
        What segments are filled with, as in `pyadx.Occlusion`; 0 in the paper.
    aggregate : {"mean", "max"}
        Over the levels: the mean (the paper), or the change that is largest in absolute value.
    signed : bool
        Average ``p(V) - p(filled)``, positive where a segment speaks for the class, and not its absolute
        value.
    engine : {"auto", "incremental", "full"}
        ``auto`` chooses segment by segment what the cost model predicts to be faster.
    score : {"probability", "logit"}
        What is followed: the softmax probability of the class (the paper), or its score before
        softmax.
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or what a sigmoid, softmax or log-softmax at
        its end made of them. A call warns where that looks wrong, or a probability cannot move.
    batch_size : int or "auto"
        Segments per batch; halved when memory runs out.
    progress : bool
        Show a progress bar with the time left.
    precision : {"float32", "tf32", "bf16"}
        What the incremental engine's convolutions compute in.
    max_memory : int, optional
        Bytes that the incremental engine's cache and batches may take.
    max_levels, max_regions, preset, cue, linkage, min_size, smoothing
        How scans that come without a hierarchy are segmented, as in `pyadx.segmentation.ucm`.
    spacing : float or sequence of float, optional
        Voxel size in mm for that segmentation.
    keep_trace : bool
        Trace the model at the first call only. Set it for many calls with a model that does not change in
        between; weights, hooks or code that changed later would not be seen.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        fill: FillOption = 0.0,
        aggregate: Annotated[
            Aggregate, Option("How the levels come together.", choice(get_args(Aggregate)))
        ] = "mean",
        signed: SignedOption = False,
        *,
        max_levels: Annotated[int, Option("Levels of the hierarchy, at most.", whole())] = 20,
        max_regions: Annotated[int, Option("Regions of the finest level, at most.", whole())] = 500,
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
        score: ScoreOption = "probability",
        outputs: OutputsOption = "logits",
        batch_size: BatchSize = "auto",
        progress: bool = False,
        precision: PrecisionOption = "float32",
        max_memory: MemoryOption = None,
        spacing: float | Sequence[float] | None = None,
        keep_trace: bool = False,
    ) -> None:
        check_engine(engine)
        check_precision(precision)
        if aggregate not in get_args(Aggregate):
            raise ValueError(
                f"aggregate must be one of {', '.join(get_args(Aggregate))}, got {aggregate!r}"
            )
        self._segmentation: dict[str, Any] = {
            "max_levels": max_levels, "max_regions": max_regions, "preset": preset, "cue": cue,
            "linkage": linkage, "min_size": min_size, "smoothing": smoothing, "spacing": spacing,
        }  # fmt: skip
        check_options(**self._segmentation)
        self._run = RunOptions(score, outputs, batch_size, progress)
        self.model = model
        self.fill = plain_fill(fill)
        self.aggregate: Aggregate = aggregate
        self.signed = signed
        self.max_levels = whole_number(max_levels)
        self.max_regions = whole_number(max_regions)
        self.preset = preset
        self.cue = cue
        self.linkage = linkage
        self.min_size = None if min_size is None else whole_number(min_size)
        self.smoothing = None if smoothing is None else real_number(smoothing)
        self.engine = engine
        self.score = score
        self.outputs = outputs
        self.precision = precision
        self.max_memory = check_max_memory(max_memory)
        self.keep_trace = keep_trace
        self._tracer = KeptTrace()

    def run(
        self,
        volume: Tensor | np.ndarray,
        target: Target = None,
        hierarchy: Hierarchy | Sequence[Hierarchy] | None = None,
        *,
        groups: Groups | None = None,
    ) -> Explanation:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume : Tensor or numpy.ndarray
            ``[B, C, D, H, W]`` or ``[C, D, H, W]``. Floating-point tensors are on the model's device and
            of its dtype; arrays and whole numbers are brought there.
        target : int, str, sequence, array or None
            Class whose score is followed, for all scans or one per scan; ``None`` takes the predicted
            class of each scan.
        hierarchy : Hierarchy or sequence of Hierarchy, optional
            The segments, on the scan's voxels, one for all scans or one per scan. Without it
            `pyadx.segmentation.ucm` segments the first channel of each scan where it is not zero.
        groups : mapping, optional
            Name to what is occluded jointly besides: a mask ``[D, H, W]``, such as all cortex, or leaves
            of the hierarchy as intervals ``[(lo, hi), ...]``. Their scores are in the reports; the map
            does not contain them.

        Returns
        -------
        Explanation
            With a `SupervoxelReport` per scan.

        Raises
        ------
        TypeError, ValueError
            If the volume, target, fill, a hierarchy or a group does not fit.
        """
        volume = check_volume(volume, self.model)
        targets = targets_per_scan(target, volume.shape[0])
        hierarchies = hierarchies_per_scan(hierarchy, volume)
        if not self.keep_trace:
            self._tracer = KeptTrace()
        watch = self._run.watch()
        made = [
            self._one(scan, own, tree, groups or {}, watch)
            for scan, own, tree in zip(volume, targets, hierarchies, strict=True)
        ]
        watch.warn()
        heats, outputs, reports = zip(*made, strict=True)
        scores = torch.cat(outputs)
        indices = resolve_target(targets, scores, self.model)
        return self._explanation(torch.stack(heats), scores, indices, reports)

    def _one(
        self,
        scan: Tensor,
        target: Target,
        hierarchy: Hierarchy | None,
        groups: Groups,
        watch: OutputWatch,
    ) -> tuple[Tensor, Tensor, SupervoxelReport]:
        watch.next_scans()
        tree = ucm(scan[0].float(), **self._segmentation) if hierarchy is None else hierarchy
        masks = {name: group_mask(name, group, tree) for name, group in groups.items()}
        scorer = SegmentScorer(
            self.engine,
            self.model,
            scan,
            target,
            precision=self.precision,
            max_memory=self.max_memory,
            tracer=self._tracer,
            progress=self._run.progress,
            fill=self.fill,
            score=self._run.score,
            outputs=self._run.outputs,
            batch_size=self._run.batch_size,
            signed=self.signed,
            watch=watch,
        )
        regions = tree.regions
        scores = scorer.score(tree.leaves, regions).double().cpu().numpy()
        scored = scorer.incremental + scorer.full
        counts = (len(tree.levels), int(tree.levels_per_region.sum()), len(regions), len(regions) - scored)
        engines = (scorer.incremental, scorer.full)
        jointly = {name: float(scorer.score(mask, [(1, 2)])[0]) for name, mask in masks.items()}
        heat = torch.from_numpy(paint(tree, scores, self.aggregate)).to(scan.device)
        return heat, scorer.outputs, SupervoxelReport(*counts, *engines, jointly)
