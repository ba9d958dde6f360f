"""Base of all methods that fill regions of a scan and watch how the class score changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.base import Explainer, Explanation, Report
from pyadx.explainers.options import RunOptions
from pyadx.explainers.references import Reference, fill_of, plain_reference, references_per_scan
from pyadx.explainers.references.resolve import Spacing
from pyadx.inference.batching import BatchSize
from pyadx.inference.engines import Engine, RegionScorer, check_engine
from pyadx.inference.forward_arguments import ForwardArguments
from pyadx.inference.incremental.options import Precision, check_max_memory, check_precision
from pyadx.inference.incremental.trace import KeptTrace
from pyadx.inference.outputs import Output, output_of
from pyadx.inference.reading import followed_score
from pyadx.inference.regions import Regions
from pyadx.inference.score import Outputs, Score, Target, targets_per_scan
from pyadx.inference.score_store import ScoreStore
from pyadx.inference.scoring_facts import scoring_facts
from pyadx.ops.arrays import plain_array
from pyadx.segmentation.checks import as_spacing


@dataclass(frozen=True)
class Store:
    """The file that keeps finished scores of one scan, and what to do if it already exists.

    Attributes
    ----------
    path : Path, optional
        The file. Without it nothing is kept.
    resume : bool
        Continue with an existing file.
    overwrite : bool
        Replace an existing file as soon as the first new scores are written.
    """

    path: Path | None = None
    resume: bool = False
    overwrite: bool = False


# Takes a scan's index in its batch, the scan [C, D, H, W], a function that makes its scorer, and the mask
# or None. Returns the map [D, H, W], the scorer and the report.
ExplainOne = Callable[
    [int, Tensor, Callable[[], RegionScorer], np.ndarray | None], tuple[Tensor, RegionScorer, Report]
]


class Perturbation(Explainer):
    """Scores regions of scans. Subclasses choose the regions and turn their scores into a map.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    fill : float, sequence of float, Tensor or str
        What regions are filled with. Either the name of a reference, such as ``local``, ``mean``,
        ``controls``, ``region-mean``, ``harmonic`` or ``scan:FILE`` (`pyadx.explainers.references`); or a
        number (the paper takes 0, the background of a masked scan); or one number per channel; or a volume
        ``[D, H, W]`` or ``[C, D, H, W]`` to copy from.
    signed : bool
        True gives ``s(V) - s(filled)``, which is positive where a region speaks for the class. False gives
        its absolute value.
    score : {"probability", "logit", "log_odds", "output"}
        The score ``s`` that is explained. ``log_odds`` is ``log p - log(1 - p)`` of the class: it does not
        saturate, and a constant added to all logits does not change it. ``probability`` is the softmax
        probability (the paper), ``logit`` the class score before softmax. ``output`` is the output itself
        in its own units, for networks that predict a number (regression).
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or the result of a final sigmoid or softmax, or
        of a log-softmax. A call warns if that looks wrong, or if the probability is saturated.
    output : str or int, optional
        Name or index of the output that holds the class scores, if the model has several. By default the
        one that ``model.card`` names.
    engine : {"auto", "incremental", "full"}
        ``full`` runs the whole model once per region. ``incremental`` recomputes only what a region
        changes, with the same result up to rounding (`pyadx.inference.IncrementalScorer`). ``auto`` takes
        for each region the engine that is predicted to be faster.
    precision : {"float32", "tf32", "bf16"}
        Precision of the incremental engine's convolutions.
    max_memory : int, optional
        Memory in bytes that the incremental engine's cache and batches may take.
    batch_size : int or "auto"
        Regions per batch. It is halved when memory runs out.
    progress : bool, optional
        Show a progress bar with the time left. By default calls that take longer than two seconds show one
        in a terminal or notebook.
    keep_trace : bool
        Trace the model at the first call only. This saves time over many calls, but later changes of
        weights, hooks or code are not noticed.
    spacing : float or sequence of float, optional
        Voxel size in mm, for references that smooth.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        fill: Reference,
        signed: bool,
        score: Score,
        outputs: Outputs,
        output: Output,
        engine: Engine,
        precision: Precision,
        max_memory: int | None,
        batch_size: BatchSize,
        progress: bool | None,
        keep_trace: bool,
        spacing: Spacing = None,
    ) -> None:
        check_engine(engine)
        check_precision(precision)
        self._run = RunOptions(followed_score(model, score), outputs, batch_size, progress)
        self.model = model
        self.fill = plain_reference(fill)
        as_spacing(spacing)
        self.spacing = spacing
        self.signed = signed
        self.score = self._run.score
        self.outputs = outputs
        self.output = output_of(model, output)
        self.engine: Engine = engine
        self.precision: Precision = precision
        self.max_memory = check_max_memory(max_memory)
        self.keep_trace = keep_trace
        self._tracer = KeptTrace()

    def _over_scans(
        self,
        volume: Tensor,
        target: Target,
        mask: Any,
        reference: Any,
        forward_args: Any,
        explain: ExplainOne,
    ) -> Explanation:
        """Explain a checked batch ``[B, C, D, H, W]``, scan by scan."""
        arguments = ForwardArguments(forward_args, volume)
        targets = targets_per_scan(target, volume.shape[0])
        masks = masks_per_scan(mask, volume)
        given = references_per_scan(reference, self.fill, volume)
        if not self.keep_trace:
            self._tracer = KeptTrace()
        watch = self._run.watch()
        heats: list[Tensor] = []
        scorers: list[RegionScorer] = []
        reports: list[Report] = []
        for place, (scan, own, inside) in enumerate(zip(volume, targets, masks, strict=True)):
            watch.next_scans()

            def scorer(
                scan: Tensor = scan, own: Target = own, file: Any = given[place], place: int = place
            ) -> RegionScorer:
                return RegionScorer(
                    self.engine,
                    self.model,
                    scan,
                    own,
                    precision=self.precision,
                    max_memory=self.max_memory,
                    tracer=self._tracer,
                    fill=fill_of(self.fill, scan, self.model, spacing=self.spacing, given=file),
                    signed=self.signed,
                    score=self._run.score,
                    outputs=self._run.outputs,
                    batch_size=self._run.batch_size,
                    progress=self._run.progress,
                    watch=watch,
                    output=self.output,
                    forward_args=arguments.of(place, place + 1),
                )

            heat, used, report = explain(place, scan, scorer, inside)
            if inside is not None:
                heat = torch.where(torch.tensor(inside, device=heat.device), heat, 0.0)
            heats.append(heat)
            scorers.append(used)
            reports.append(report)
        watch.warn()
        indices = torch.tensor([used.target for used in scorers])
        outputs = torch.cat([used.outputs for used in scorers])
        return self._explanation(torch.stack(heats), outputs, indices, tuple(reports))

    def _scores(self, scorer: RegionScorer, regions: Regions, store: Store) -> Tensor:
        """Score regions; finished scores are written to the store if it has a file."""
        if store.path is None:
            return regions.spread(scorer.score_regions(regions))
        facts = {
            "engine": scorer.engine_name(regions.boxes),
            "precision": self.precision,
            **scoring_facts(scorer, regions),
        }
        with ScoreStore(store.path, facts, resume=store.resume, overwrite=store.overwrite) as kept:
            return regions.spread(scorer.score_regions(regions, kept))


def masks_per_scan(mask: Any, volume: Tensor) -> Sequence[np.ndarray | None]:
    """Return the region of interest of each scan of a batch, bool ``[D, H, W]``, or None.

    Parameters
    ----------
    mask : array or Tensor, optional
        ``[D, H, W]`` for all scans, or ``[B, D, H, W]``. Voxels that are not 0 belong to the region of
        interest.
    volume : Tensor
        ``[B, C, D, H, W]``.

    Raises
    ------
    ValueError
        If the shape does not fit, or a mask is empty.
    """
    scans, shape = volume.shape[0], tuple(volume.shape[2:])
    if mask is None:
        return [None] * scans
    given = plain_array("mask", mask)
    inside = given != 0
    if inside.shape == shape:
        inside = np.broadcast_to(inside, (scans, *shape))
    if inside.shape != (scans, *shape):
        raise ValueError(f"mask has shape {given.shape}, the scans {shape}; give one mask, or one per scan")
    if not inside.any((1, 2, 3)).all():
        raise ValueError("mask holds no voxel: nothing is left to explain")
    return list(inside)
