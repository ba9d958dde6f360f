"""The paper's SA-3DUCM: sensitivity to occluding every segment of a hierarchy (section 3.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.explainers.options import RunOptions
from pyadx.explainers.volumes import check_volume
from pyadx.inference.batching import BatchSize
from pyadx.inference.by_cost import SegmentScorer
from pyadx.inference.engine import Engine, check_engine
from pyadx.inference.incremental.scorer import Precision, check_max_memory, check_precision
from pyadx.inference.incremental.trace import KeptTrace
from pyadx.inference.score import Score, Target, targets_per_scan
from pyadx.segmentation import Hierarchy, ucm

Aggregate = Literal["mean", "max"]
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


class SupervoxelOcclusion:
    """SA-3DUCM: occlude every segment of every level of a hierarchical segmentation.

    ``H(v) = 1/L sum_l |p(V) - p(V with the segment of level l that holds v filled)|`` over the L levels.
    A segment that several levels have in common is scored once. Voxels outside the hierarchy are 0.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    fill : float, sequence of float, or Tensor
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
    batch_size : int or "auto"
        Segments per batch; halved when memory runs out.
    progress : bool
        Show a progress bar with the time left.
    precision : {"float32", "tf32", "bf16"}
        What the incremental engine's convolutions compute in.
    max_memory : int, optional
        Bytes that the incremental engine's cache and batches may take.
    segmentation : mapping, optional
        Options of `pyadx.segmentation.ucm` for scans that come without a hierarchy.
    keep_trace : bool
        Trace the model at the first call only. Set it for many calls with a model that does not change in
        between; weights, hooks or code that changed later would not be seen.

    Attributes
    ----------
    reports : list of SupervoxelReport
        How each scan of the last call went.
    outputs : Tensor
        The model's class scores before softmax of the scans of the last call, ``[B, classes]``.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        fill: ops.Fill = 0.0,
        aggregate: Aggregate = "mean",
        signed: bool = False,
        *,
        engine: Engine = "auto",
        score: Score = "probability",
        batch_size: BatchSize = "auto",
        progress: bool = False,
        precision: Precision = "float32",
        max_memory: int | None = None,
        segmentation: Mapping[str, Any] | None = None,
        keep_trace: bool = False,
    ) -> None:
        check_engine(engine)
        check_precision(precision)
        check_max_memory(max_memory)
        if aggregate not in get_args(Aggregate):
            raise ValueError(
                f"aggregate must be one of {', '.join(get_args(Aggregate))}, got {aggregate!r}"
            )
        self.options = RunOptions(score, batch_size, progress)
        self.model = model
        self.fill = fill
        self.aggregate: Aggregate = aggregate
        self.signed = signed
        self.engine: Engine = engine
        self.precision: Precision = precision
        self.max_memory = max_memory
        self.keep_trace = keep_trace
        self._tracer = KeptTrace()
        self.segmentation = dict(segmentation or {})
        self.outputs = torch.empty(0)
        self.reports: list[SupervoxelReport] = []

    def __call__(
        self,
        volume: Tensor,
        target: Target = None,
        hierarchy: Hierarchy | Sequence[Hierarchy] | None = None,
        *,
        groups: Groups | None = None,
    ) -> Tensor:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume : Tensor
            ``[B, C, D, H, W]`` or ``[C, D, H, W]``, on the model's device, of its dtype.
        target : int, str, sequence, or None
            Class whose score is followed, for all scans or one per scan; ``None`` takes the predicted
            class of each scan.
        hierarchy : Hierarchy or sequence of Hierarchy, optional
            The segments, on the scan's voxels, one for all scans or one per scan. Without it
            `pyadx.segmentation.ucm` segments the first channel of each scan where it is not zero.
        groups : mapping, optional
            Name to what is occluded jointly besides: a mask ``[D, H, W]``, such as all cortex, or leaves
            of the hierarchy as intervals ``[(lo, hi), ...]``. Their scores are in ``reports``; the map
            does not contain them.

        Returns
        -------
        Tensor
            float32 ``[B, D, H, W]`` on the volume's device.

        Raises
        ------
        TypeError, ValueError
            If the volume, target, fill, a hierarchy or a group does not fit.
        """
        volume = check_volume(volume, self.model)
        targets = targets_per_scan(target, volume.shape[0])
        hierarchies = _per_scan(hierarchy, volume)
        self.reports = []
        if not self.keep_trace:
            self._tracer = KeptTrace()
        made = [
            self._one(scan, own, tree, groups or {})
            for scan, own, tree in zip(volume, targets, hierarchies, strict=True)
        ]
        self.outputs = torch.cat([outputs for _, outputs in made])
        return torch.stack([heat for heat, _ in made])

    def _one(
        self, scan: Tensor, target: Target, hierarchy: Hierarchy | None, groups: Groups
    ) -> tuple[Tensor, Tensor]:
        tree = ucm(scan[0].float(), **self.segmentation) if hierarchy is None else hierarchy
        masks = {name: _group_mask(name, group, tree) for name, group in groups.items()}
        scorer = SegmentScorer(
            self.engine,
            self.model,
            scan,
            target,
            precision=self.precision,
            max_memory=self.max_memory,
            tracer=self._tracer,
            progress=self.options.progress,
            fill=self.fill,
            score=self.options.score,
            batch_size=self.options.batch_size,
            signed=self.signed,
        )
        regions = tree.regions
        scores = scorer.score(tree.leaves, regions).double().cpu().numpy()
        scored = scorer.incremental + scorer.full
        counts = (len(tree.levels), int(tree.levels_per_region.sum()), len(regions), len(regions) - scored)
        engines = (scorer.incremental, scorer.full)
        jointly = {name: float(scorer.score(mask, [(1, 2)])[0]) for name, mask in masks.items()}
        self.reports.append(SupervoxelReport(*counts, *engines, jointly))
        heat = torch.from_numpy(paint(tree, scores, self.aggregate)).to(scan.device)
        return heat, scorer.outputs


def paint(hierarchy: Hierarchy, scores: np.ndarray, aggregate: Aggregate = "mean") -> np.ndarray:
    """Spread the scores of segments over the voxels.

    Parameters
    ----------
    hierarchy : Hierarchy
        The segments.
    scores : ndarray
        ``[N]``, one for each of ``hierarchy.regions``.
    aggregate : {"mean", "max"}
        How the levels come together.

    Returns
    -------
    ndarray
        float32 ``[D, H, W]``; 0 outside the hierarchy.
    """
    regions = hierarchy.regions
    if aggregate == "max":
        of_leaf = np.zeros(hierarchy.n_leaves + 1)
        for (low, high), score in zip(regions, scores, strict=True):
            own = of_leaf[low:high]
            own[abs(own) < abs(score)] = score
    else:
        steps = np.zeros(hierarchy.n_leaves + 2)
        weighted = scores * hierarchy.levels_per_region / len(hierarchy.levels)
        np.add.at(steps, regions[:, 0], weighted)
        np.subtract.at(steps, regions[:, 1], weighted)
        of_leaf = np.cumsum(steps)[:-1]
    return of_leaf.astype(np.float32)[hierarchy.leaves]


def _per_scan(hierarchy: Any, volume: Tensor) -> list[Hierarchy | None]:
    scans = volume.shape[0]
    if hierarchy is None or isinstance(hierarchy, Hierarchy):
        trees: list[Hierarchy | None] = [hierarchy] * scans
    else:
        trees = list(hierarchy)
    if len(trees) != scans:
        raise ValueError(f"got {len(trees)} hierarchies for {scans} scans")
    for tree in trees:
        if tree is not None and not isinstance(tree, Hierarchy):
            raise TypeError(f"hierarchy must be a pyadx.segmentation.Hierarchy, got {type(tree).__name__}")
        if tree is not None and tree.leaves.shape != tuple(volume.shape[2:]):
            raise ValueError(
                f"the hierarchy has shape {tree.leaves.shape}, the scan {tuple(volume.shape[2:])}"
            )
    return trees


def _group_mask(name: str, group: Any, hierarchy: Hierarchy) -> np.ndarray:
    """Return which voxels a group fills, int32 ``[D, H, W]`` of 0 and 1."""
    given = np.asarray(group.cpu() if isinstance(group, Tensor) else group)
    if given.shape == hierarchy.leaves.shape:
        return (given != 0).astype(np.int32)
    if given.ndim == 2 and given.shape[1] == 2 and given.dtype.kind in "iu":
        chosen = np.zeros(hierarchy.n_leaves + 1, np.int32)
        for low, high in given:
            if not 1 <= low <= high <= hierarchy.n_leaves + 1:
                raise ValueError(f"group {name!r}: leaves are 1 to {hierarchy.n_leaves}, got {low}:{high}")
            chosen[low:high] = 1
        return chosen[hierarchy.leaves]
    raise ValueError(
        f"group {name!r} must be a mask of shape {hierarchy.leaves.shape} or leaf intervals "
        f"[(lo, hi), ...], got shape {given.shape}"
    )
