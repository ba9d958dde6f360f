"""The paper's baseline: sensitivity to an occluding box around every voxel (section 3.3)."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.base import Explainer, Explanation
from pyadx.explainers.coarse_to_fine import coarse_to_fine
from pyadx.explainers.option_kinds import VOXELS, number, optional
from pyadx.explainers.options import RunOptions, plain_fill
from pyadx.explainers.registry import Option, method
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
from pyadx.explainers.windows import WindowGrid, triple
from pyadx.inference.batching import BatchSize
from pyadx.inference.engine import check_engine, scorer_for
from pyadx.inference.identity import run_facts
from pyadx.inference.incremental.scorer import IncrementalScorer, check_max_memory, check_precision
from pyadx.inference.incremental.trace import KeptTrace
from pyadx.inference.score import Target, targets_per_scan
from pyadx.inference.score_store import ScoreStore
from pyadx.inference.watch import OutputWatch
from pyadx.ops.numbers import real_number


@dataclass(frozen=True)
class OcclusionReport:
    """How the map of one scan came about.

    Attributes
    ----------
    engine : str
        ``incremental`` or ``full``.
    windows : int
        Windows of the map.
    regions : int
        Distinct regions among them that change a voxel; the other windows cost nothing.
    scored : int
        Regions that were scored; fewer than ``regions`` if the map is approximate.
    seconds : float
        What it took: tracing, caching, scoring and painting.
    budget_s : float, optional
        What it was allowed to take.
    """

    engine: str
    windows: int
    regions: int
    scored: int
    seconds: float = 0.0
    budget_s: float | None = None

    @property
    def approximate(self) -> bool:
        """Whether some windows were estimated from their neighbours."""
        return self.scored < self.regions

    @property
    def evaluations(self) -> int:
        """One per window."""
        return self.windows

    @property
    def evaluated(self) -> int:
        """One per region that was scored."""
        return self.scored

    def facts(self) -> dict[str, Any]:
        """Return counts, the engine, and what is approximate."""
        facts: dict[str, Any] = {**asdict(self), "approximate": self.approximate}
        if self.approximate:
            facts["share_of_regions_scored"] = round(self.scored / self.regions, 6)
            facts["approximation"] = self.summary()
        return facts

    def summary(self) -> str:
        """Say how many regions were scored if the map is approximate."""
        if not self.approximate:
            return ""
        share = self.scored / self.regions
        return f"approximate: {share:.1%} of the regions were scored, the others interpolated"


@method(
    "occlusion",
    title="Occlusion",
    answers="How far does the class score move when a box around each voxel is filled?",
    cost="a small share of a forward pass per window",
    presets={"paper": {"window": 7, "stride": 1, "fill": 0.0, "signed": False, "score": "probability"}},
)
class Occlusion(Explainer):
    """Occlusion sensitivity: how far the class score moves when a box is filled.

    ``H(v) = |p(V) - p(V with the box centred on v filled)|`` for every voxel ``v`` of the grid that
    ``stride`` sets; between the voxels of a strided grid the map is interpolated. Windows that change
    no voxel score zero without a forward pass. `pyadx.explainers.windows` states where windows lie.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    window : int or sequence of int
        Size of the box in voxels, one or one per axis; 7 in the paper.
    stride : int or sequence of int
        Distance between windows, one or one per axis; 1 in the paper. Any stride is allowed, also
        one larger than the window.
    fill : float, sequence of float, array or Tensor
        What boxes are filled with: a number (0, the background of a masked scan, in the paper), one
        number per channel, or a volume ``[D, H, W]`` or ``[C, D, H, W]`` to copy from.
    engine : {"auto", "incremental", "full"}
        ``full`` runs the whole model once per window. ``incremental`` recomputes only what a window
        changes, with the same result up to rounding (`pyadx.inference.IncrementalScorer`). ``auto``
        takes the incremental engine wherever the model can be traced and it is predicted to be faster.
    signed : bool
        Map ``p(V) - p(filled)``, positive where a box speaks for the class, and not its absolute value.
    score : {"probability", "logit"}
        What is followed: the softmax probability of the class (the paper), or its score before
        softmax.
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or what a sigmoid, softmax or log-softmax at
        its end made of them. A call warns where that looks wrong, or a probability cannot move.
    batch_size : int or "auto"
        Windows per batch; halved when memory runs out.
    progress : bool
        Show a progress bar with the time left.
    precision : {"float32", "tf32", "bf16"}
        What the incremental engine's convolutions compute in.
    max_memory : int, optional
        Bytes that the incremental engine's cache and batches may take.
    budget_s : float, optional
        Seconds per scan for an approximate map: coarse windows first, finer ones where the map moves
        most (`pyadx.explainers.coarse_to_fine`). Tracing, caching and the first forward count; if these
        and 27 windows of a coarse grid take longer, a warning says so. The report says how many windows
        were scored and how long it took.
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
        window: Annotated[int | Sequence[int], Option("Size of the box.", VOXELS)] = 7,
        stride: Annotated[int | Sequence[int], Option("Distance between windows.", VOXELS)] = 1,
        fill: FillOption = 0.0,
        engine: EngineOption = "auto",
        *,
        signed: SignedOption = False,
        score: ScoreOption = "probability",
        outputs: OutputsOption = "logits",
        batch_size: BatchSize = "auto",
        progress: bool = False,
        precision: PrecisionOption = "float32",
        max_memory: MemoryOption = None,
        budget_s: Annotated[
            float | None,
            Option("Seconds for an approximate map, coarse to fine.", optional(number(above=0))),
        ] = None,
        keep_trace: bool = False,
    ) -> None:
        check_engine(engine)
        check_precision(precision)
        seconds = None if budget_s is None else real_number(budget_s)
        if budget_s is not None and (seconds is None or not seconds > 0):
            raise ValueError(f"budget_s must be a positive number of seconds, got {budget_s!r}")
        self._run = RunOptions(score, outputs, batch_size, progress)
        self.model = model
        self.window = triple("window", window)
        self.stride = triple("stride", stride)
        self.fill = plain_fill(fill)
        self.engine = engine
        self.signed = signed
        self.score = score
        self.outputs = outputs
        self.precision = precision
        self.max_memory = check_max_memory(max_memory)
        self.budget_s = seconds
        self.keep_trace = keep_trace
        self._tracer = KeptTrace()

    @property
    def resumable(self) -> bool:
        """An exact map is; one within a budget ends soon anyway."""
        return self.budget_s is None

    def run(
        self,
        volume: Tensor | np.ndarray,
        target: Target = None,
        *,
        store: str | Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
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
        store : str or Path, optional
            A file that finished scores of a single scan go into. After a crash it lets the same call,
            with ``resume``, go on where it was and give the same bytes. Delete it once the map is safe.
        resume : bool
            Whether to go on with an existing ``store``.
        overwrite : bool
            Without ``resume``: whether to replace an existing ``store``, as soon as the first scores are
            on the disk. With neither an existing one is an error.

        Returns
        -------
        Explanation
            With an `OcclusionReport` per scan.

        Raises
        ------
        TypeError, ValueError
            If the volume, target or fill does not fit.
        """
        volume = check_volume(volume, self.model)
        targets = targets_per_scan(target, volume.shape[0])
        if store is not None and (volume.shape[0] != 1 or self.budget_s is not None):
            raise ValueError("a store holds the exact scores of one scan: no batches, no budget_s")
        if not self.keep_trace:
            self._tracer = KeptTrace()
        path = None if store is None else Path(store)
        watch = self._run.watch()
        open_store = partial(ScoreStore, resume=resume, overwrite=overwrite)
        made = [
            self._one(scan, own, watch, path, open_store) for scan, own in zip(volume, targets, strict=True)
        ]
        watch.warn()
        heats, outputs, indices, reports = zip(*made, strict=True)
        return self._explanation(torch.stack(heats), torch.cat(outputs), torch.tensor(indices), reports)

    def _one(
        self,
        scan: Tensor,
        target: Target,
        watch: OutputWatch,
        store: Path | None,
        open_store: Callable[..., ScoreStore],
    ) -> tuple[Tensor, Tensor, int, OcclusionReport]:
        started = time.monotonic()
        watch.next_scans()
        grid = WindowGrid(tuple(scan.shape[1:]), self.window, self.stride)
        boxes = grid.boxes()
        scorer, regions = scorer_for(
            self.engine,
            self.model,
            scan,
            target,
            boxes,
            precision=self.precision,
            max_memory=self.max_memory,
            tracer=self._tracer,
            fill=self.fill,
            signed=self.signed,
            score=self._run.score,
            outputs=self._run.outputs,
            batch_size=self._run.batch_size,
            progress=self._run.progress,
            watch=watch,
        )
        engine = "incremental" if isinstance(scorer, IncrementalScorer) else "full"
        scored = len(regions.boxes)
        if self.budget_s is not None:
            scores, scored = coarse_to_fine(scorer, grid, regions, self.budget_s, started=started)
        elif store is None:
            scores = regions.spread(scorer.score_regions(regions))
        else:
            facts = {"engine": engine, "precision": self.precision, **run_facts(scorer, regions)}
            with open_store(store, facts) as kept:
                scores = regions.spread(scorer.score_regions(regions, kept))
        heat = grid.paint(scores).to(scan.device)
        seconds = time.monotonic() - started
        report = OcclusionReport(
            engine, len(boxes), len(regions.boxes), scored, round(seconds, 4), self.budget_s
        )
        if self.budget_s is not None and seconds > self.budget_s:
            warnings.warn(over_budget(report), stacklevel=3)
        return heat, scorer.outputs, scorer.target, report


def over_budget(report: OcclusionReport) -> str:
    """Say by how much a budget was missed, for a warning."""
    return (
        f"the budget of {report.budget_s:g} s was too short: preparing the network and scoring "
        f"{report.scored:,} of {report.regions:,} regions took {report.seconds:.1f} s"
    )
