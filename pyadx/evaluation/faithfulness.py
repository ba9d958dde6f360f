"""Does a heatmap name the voxels that the network uses? Deletion and insertion curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.evaluation.curve_walks import walked_curves
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
    """A class score while voxels are taken away or brought back.

    Attributes
    ----------
    fraction : numpy.ndarray
        Share of the voxels that were deleted or inserted, ``[S + 1]``, from 0 to 1.
    score : numpy.ndarray
        Score of the target class, float64 ``[S + 1]``.
    """

    fraction: np.ndarray
    score: np.ndarray

    __repr__ = short_repr

    @property
    def auc(self) -> float:
        """Area under the curve, by trapezoids."""
        widths = np.diff(self.fraction)
        return float(np.sum(widths * (self.score[1:] + self.score[:-1]) / 2))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Deletion (small is good) and insertion (large is good) of one heatmap."""

    deletion: Curve
    insertion: Curve

    @property
    def srg(self) -> float:
        """Symmetric relevance gain (Bluecher et al., TMLR 2024): large is good, 0 for a random map.

        The area of deletion from the least relevant voxel on, minus that from the most relevant on. The
        first is insertion read backwards: both curves show the same scans, and areas do not change.
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
    """Delete voxels from the strongest on, and insert them into an empty scan (Petsiuk et al., BMVC 2018).

    Voxels are ranked once into ``steps`` groups of equal size, and one label volume serves all steps. Where
    groups lie close together, as those of supervoxels do, they are filled one after another at a baseline
    that moves (`pyadx.inference.IncrementalScorer`); otherwise the whole model sees every step. Equally
    strong voxels are taken in the order of the volume.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, 1, D, H, W]`` to class scores; left as it was found.
    volume : Tensor or numpy.ndarray
        ``[1, D, H, W]`` or ``[1, 1, D, H, W]``; arrays and whole numbers are brought to the model.
    heatmap : Tensor or numpy.ndarray
        ``[D, H, W]``; its absolute value ranks the voxels.
    target : int, str or None
        Class whose score is followed; ``None`` takes the predicted class.
    inside : Tensor or numpy.ndarray, optional
        bool ``[D, H, W]``: voxels that are ranked. Without it those that differ from ``fill`` where that is
        one number or a name, otherwise all. Voxels outside stay as they are.
    steps : int
        Groups of voxels.
    fill : number, sequence, Tensor or str
        What a deleted voxel becomes: as for `pyadx.ops.occlude_labels`, or the name of a reference that is
        a volume, such as ``local`` or ``controls`` (`pyadx.explainers.references`).
    spacing : float or sequence of float, optional
        Voxel size in mm, for references that smooth.
    score : {"probability", "logit", "log_odds", "output"}
        What is followed.
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns, as for `pyadx.Occlusion`.
    output, forward_args
        Which of several outputs is followed, and what the model takes besides the scan, as for
        `pyadx.Occlusion`.
    batch_size : int or "auto"
        Copies per forward.
    engine : {"auto", "incremental", "full"}
        How steps are scored; curves are the same up to rounding.

    Returns
    -------
    Faithfulness
        Both curves.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, the heatmap is not finite, or fewer voxels than steps are ranked.
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
    """Return both curves, one after the other, by batches of whole forwards."""
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
        raise ValueError(f"volume must be one scan [1,D,H,W] or [1,1,D,H,W], got {tuple(volume.shape)}")
    return scan.detach()


def _rank_groups(
    scan: Tensor,
    heatmap: Tensor | np.ndarray,
    inside: Tensor | np.ndarray | None,
    steps: int,
    fill: ops.Fill,
) -> Tensor:
    """Return int32 ``[D, H, W]``: 1 for the strongest group of voxels to ``steps``, 0 for unranked ones."""
    heat = np.abs(plain_array("heatmap", heatmap))
    shape = tuple(scan.shape[1:])
    if heat.shape != shape:
        raise ValueError(f"the heatmap has shape {heat.shape}, the scan {shape}")
    if not np.isfinite(heat).all():
        raise ValueError("the heatmap holds NaN or infinity; it cannot rank these voxels")
    if inside is not None:
        ranked = plain_array("inside", inside)
        if ranked.dtype != bool or ranked.shape != shape:
            raise ValueError(
                f"inside must be a bool mask of shape {shape}, got {ranked.dtype} {ranked.shape}"
            )
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
