"""Deletion and insertion curves: whether a heatmap marks the voxels that the network uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.evaluation.curve_walks import walked_curves
from pyadx.evaluation.masks import bool_mask
from pyadx.explainers.references import Reference, plain_reference, reference_volume
from pyadx.inference.adapted import Adapted
from pyadx.inference.batch.dependence import find_dependence, runs_apart
from pyadx.inference.batching import BatchSize, check_batch_size, in_batches
from pyadx.inference.engines import Engine, check_engine
from pyadx.inference.forward_arguments import ForwardArguments
from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.outputs import Output, output_of
from pyadx.inference.reading import Reading, followed_score
from pyadx.inference.score import Outputs, Score, Target, class_score
from pyadx.inference.volumes import volume_tensor
from pyadx.inference.watch import OutputWatch
from pyadx.ops.arrays import plain_array
from pyadx.ops.numbers import real_number, whole_number
from pyadx.short_reprs import short_repr


@dataclass(frozen=True, eq=False)
class Curve:
    """A class score as voxels are deleted or inserted.

    Attributes
    ----------
    fraction : numpy.ndarray
        Share of the ranked voxels that are deleted or inserted, ``[S + 1]``, from 0 to 1.
    score : numpy.ndarray
        Score of the target class, float64 ``[S + 1]``.
    """

    fraction: np.ndarray
    score: np.ndarray

    __repr__ = short_repr

    @property
    def auc(self) -> float:
        """Area under the curve (trapezoidal rule)."""
        widths = np.diff(self.fraction)
        return float(np.sum(widths * (self.score[1:] + self.score[:-1]) / 2))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Deletion and insertion curves of one heatmap.

    Attributes
    ----------
    deletion : Curve
        Score as voxels are deleted, the strongest first. A small area is good.
    insertion : Curve
        Score as voxels are inserted into an empty scan, the strongest first. A large area is good.
    """

    deletion: Curve
    insertion: Curve

    @property
    def srg(self) -> float:
        """Symmetric relevance gain (Bluecher et al., TMLR 2024): large is good, 0 for a random map.

        This is the area of deletion with the least relevant voxels first, minus the area with the most
        relevant first. Deleting the least relevant first runs through the same scans as insertion, in
        reverse order, so its area is that of insertion.
        """
        return self.insertion.auc - self.deletion.auc


def deletion_insertion(
    model: nn.Module,
    volume: Tensor | np.ndarray,
    heatmap: Tensor | np.ndarray,
    target: Target,
    *,
    inside: Tensor | np.ndarray | None = None,
    steps: int = 50,
    fill: Reference = 0.0,
    spacing: float | Sequence[float] | None = None,
    score: Score = "probability",
    outputs: Outputs = "logits",
    output: Output = None,
    forward_args: Any = None,
    batch_size: BatchSize = "auto",
    engine: Engine = "auto",
) -> Faithfulness:
    """Delete the strongest voxels first, and insert them into an empty scan (Petsiuk et al., BMVC 2018).

    Voxels are ranked once and split into ``steps`` groups of equal size. If the voxels of a group are close
    together, as for supervoxels, each step recomputes only what changed since the last one
    (`pyadx.inference.IncrementalScorer` with a moving baseline). Otherwise every step is a forward pass of
    the whole model. Equally strong voxels keep the order in which the volume stores them.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores. Its state is restored afterwards.
    volume : Tensor or numpy.ndarray
        ``[C, D, H, W]`` or ``[1, C, D, H, W]``. Arrays take the dtype and device of the model's weights,
        integer tensors their dtype.
    heatmap : Tensor or numpy.ndarray
        ``[D, H, W]``. Voxels are ranked by its absolute value.
    target : int, str or None
        Class to score; ``None`` takes the predicted class.
    inside : Tensor or numpy.ndarray, optional
        bool ``[D, H, W]``: voxels to rank; all others keep their values. By default, the voxels that differ
        from ``fill`` if that is one number or the name of a reference, and otherwise all voxels.
    steps : int
        Number of groups of voxels.
    fill : number, sequence, Tensor or str
        Value of a deleted voxel: as for `pyadx.ops.occlude_labels`, or the name of a reference that is a
        volume, such as ``local`` or ``controls`` (`pyadx.explainers.references`).
    spacing : float or sequence of float, optional
        Voxel size in mm; needed by references that smooth.
    score : {"probability", "logit", "log_odds", "output"}
        Score to follow.
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns, as for `pyadx.Occlusion`.
    output, forward_args
        Which of several outputs to follow, and what the model takes besides the scan, as for
        `pyadx.Occlusion`.
    batch_size : int or "auto"
        Scans per forward pass.
    engine : {"auto", "incremental", "full"}
        How steps are scored. The curves are the same up to rounding.

    Returns
    -------
    Faithfulness
        Both curves.

    Raises
    ------
    ValueError, TypeError
        If shapes do not match, the heatmap is not finite, or fewer voxels than ``steps`` are ranked.
    UntraceableError
        A ``ValueError``: if ``engine="incremental"`` and the model cannot be traced.
    """
    reading = Reading(followed_score(model, score), outputs)
    batch_size = check_batch_size(batch_size)
    scan = _one_scan(volume_tensor(volume, model))
    groups = whole_number(steps)
    if groups is None:
        raise ValueError(f"steps must be a whole number, got {steps!r}")
    steps = groups
    if isinstance(fill := plain_reference(fill, regions=False), str):
        fill = reference_volume(fill, scan, model, spacing=spacing)
        inside = (scan != fill).any(0).cpu().numpy() if inside is None else inside
    check_engine(engine)
    ranks = _rank_groups(scan, heatmap, inside, steps, fill).to(scan.device)
    watch = OutputWatch(reading)
    options: dict[str, Any] = {"score": score, "outputs": outputs, "output": output}
    options |= {"forward_args": forward_args, "batch_size": batch_size, "watch": watch}
    scores = None
    if engine != "full":
        scores = walked_curves(model, scan, target, ranks, steps, fill, engine == "incremental", options)
    if scores is None:
        scores = _whole_curves(model, scan, target, ranks, steps, fill, reading, options)
    watch.warn()
    fraction = np.linspace(0, 1, steps + 1)
    return Faithfulness(Curve(fraction, scores[: steps + 1]), Curve(fraction, scores[steps + 1 :]))


def _whole_curves(
    model: nn.Module,
    scan: Tensor,
    target: Target,
    ranks: Tensor,
    steps: int,
    fill: ops.Fill,
    reading: Reading,
    options: dict[str, Any],
) -> np.ndarray:
    """Score deletion, then insertion, in batches of full forward passes, float64 ``[2 * (steps + 1)]``."""
    counts = torch.arange(steps + 1)
    taken = torch.stack([torch.ones_like(counts), counts + 1], 1)
    kept = torch.stack([counts + 1, torch.full_like(counts, steps + 1)], 1)
    intervals = torch.cat([taken, kept])
    scores = torch.empty(len(intervals), dtype=torch.float64)
    arguments = ForwardArguments(options["forward_args"], scan[None])
    forward = Forward(Adapted(model, output_of(model, options["output"]), arguments))
    watch, batch_size = options["watch"], options["batch_size"]
    with evaluation_mode(model), torch.no_grad():
        seen = reading.look(forward(scan[None].clone()), 1, target, model, exact=True)
        watch.begin(seen, model, forward, scan[None])

        def run(start: int, stop: int) -> None:
            copies = ops.occlude_labels(scan, ranks, intervals[start:stop], fill)
            own = reading.again(forward(copies), stop - start, exact=True)
            index = seen.target.expand(stop - start)
            followed = reading.value(own, index)
            scores[start:stop] = followed.cpu()
            watch.moved(
                followed - reading.value(seen.logits, seen.target),
                class_score(own, index, "logit") - class_score(seen.logits, seen.target, "logit"),
            )

        apart = batch_size == 1 or runs_apart(forward.model)
        dependence = None if apart else find_dependence(forward, scan)
        if dependence is not None:
            dependence.tell(forward.model)
            batch_size = 1
        in_batches(len(intervals), batch_size, scan.device, run)
    return scores.numpy()


def _one_scan(volume: Tensor) -> Tensor:
    scan = volume[0] if volume.dim() == 5 and volume.shape[0] == 1 else volume
    if scan.dim() != 4:
        raise ValueError(f"volume must be one scan [C,D,H,W] or [1,C,D,H,W], got {tuple(volume.shape)}")
    return scan.detach()


def _rank_groups(
    scan: Tensor,
    heatmap: Tensor | np.ndarray,
    inside: Tensor | np.ndarray | None,
    steps: int,
    fill: ops.Fill,
) -> Tensor:
    """Return the group of each voxel, int32 ``[D, H, W]``: 1 (strongest) to ``steps``, or 0 if unranked."""
    heat = np.abs(plain_array("heatmap", heatmap))
    shape = tuple(scan.shape[1:])
    if heat.shape != shape:
        raise ValueError(f"the heatmap has shape {heat.shape}, but the scan has shape {shape}")
    if not np.isfinite(heat).all():
        raise ValueError("the heatmap holds NaN or infinity; voxels are ranked by finite values only")
    if inside is not None:
        ranked = bool_mask("inside", inside, shape)
    elif real_number(fill) is not None:
        ranked = (scan != ops.fill_tensor(fill, scan)).any(0).cpu().numpy()
    else:
        ranked = np.ones(shape, bool)
    at = np.flatnonzero(ranked)
    if not 1 <= steps <= len(at):
        raise ValueError(f"steps must be from 1 to the number of ranked voxels, {len(at)}, got {steps}")
    order = np.argsort(-heat.ravel()[at], kind="stable")
    groups = np.zeros(heat.size, np.int32)
    groups[at[order]] = 1 + (np.arange(len(at)) * steps) // len(at)
    return torch.from_numpy(groups.reshape(shape))
