"""The paper's baseline: sensitivity to an occluding box around every voxel (section 3.3)."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from torch import Tensor, nn

from pyadx.explainers.base import Explanation
from pyadx.explainers.coarse_to_fine import coarse_to_fine
from pyadx.explainers.option_kinds import VOXELS, number, optional
from pyadx.explainers.perturbation import Perturbation, Store
from pyadx.explainers.registry import Option, method
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
from pyadx.explainers.windows import WindowGrid, triple
from pyadx.inference.batching import BatchSize
from pyadx.inference.engines import RegionScorer
from pyadx.inference.regions import Regions
from pyadx.inference.score import Target
from pyadx.ops.numbers import real_number


@dataclass(frozen=True)
class OcclusionReport:
    """How the occlusion map of one scan was made.

    Attributes
    ----------
    engine : str
        Engine that scored the regions: ``incremental``, ``full`` or ``both``.
    windows : int
        Number of windows.
    regions : int
        Number of distinct sets of voxels that windows change. Windows that change nothing, or the same
        voxels as another one, cost nothing.
    scored : int
        Regions that were scored; fewer than ``regions`` if the map is approximate.
    seconds : float
        Time in seconds that tracing, caching, scoring and making the map took.
    budget_s : float, optional
        Time in seconds that was allowed.
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
        """Return the counts, the engine, the times, and how far the map is approximate."""
        facts: dict[str, Any] = {**asdict(self), "approximate": self.approximate}
        if self.approximate:
            facts["share_of_regions_scored"] = round(self.scored / self.regions, 6)
            facts["approximation"] = self.summary()
        return facts

    def summary(self) -> str:
        """Say which share of the regions was scored if the map is approximate; else an empty string."""
        if not self.approximate:
            return ""
        share = self.scored / self.regions
        return f"approximate: {share:.1%} of the regions were scored, the others interpolated"


@method(
    "occlusion",
    title="Occlusion",
    answers="How much does the class score change when a box around each voxel is filled?",
    cost="a small fraction of a forward pass per window",
    presets={"paper": {"window": 7, "stride": 1, "fill": 0.0, "signed": False, "score": "probability"}},
)
class Occlusion(Perturbation):
    """Occlusion sensitivity: how much the class score changes when a box is filled.

    ``H(v) = s(V) - s(V with the box centred on v filled)``. By default ``s`` is the log-odds of the class,
    and boxes are filled with the scan's local mean. With a stride above 1 the map is interpolated between
    the centres of the boxes. The preset ``paper`` fills with 0 and takes the absolute change of the
    probability (section 3.3). Windows that change no voxel score 0 without a forward pass.
    `pyadx.explainers.windows` says where windows are centred.

    Parameters
    ----------
    window : int or sequence of int
        Size of the box in voxels, for all axes or one per axis; 7 in the paper.
    stride : int or sequence of int
        Distance between windows in voxels, for all axes or one per axis; 1 in the paper. It may be larger
        than the window.
    budget_s : float, optional
        Time in seconds per scan for an approximate map: a coarse grid of windows first, then finer ones
        where the map varies most (`pyadx.explainers.coarse_to_fine`). Tracing, caching and the first
        forward pass count. The coarse grid, at most 27 windows, is always scored; a warning says if the
        budget was too short for it. The report says how many regions were scored and how long that took.
    model, fill, signed, score, outputs, output, engine, precision, max_memory, batch_size, progress
        As in `pyadx.explainers.perturbation.Perturbation`.
    keep_trace
        As in `pyadx.explainers.perturbation.Perturbation`.
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
        window: Annotated[int | Sequence[int], Option("Size of the box.", VOXELS)] = 7,
        stride: Annotated[int | Sequence[int], Option("Distance between windows.", VOXELS)] = 1,
        fill: FillOption = "local",
        engine: EngineOption = "auto",
        *,
        signed: SignedOption = True,
        score: ScoreOption = "log_odds",
        outputs: OutputsOption = "logits",
        output: OutputOption = None,
        batch_size: BatchSize = "auto",
        progress: bool | None = None,
        precision: PrecisionOption = "float32",
        max_memory: MemoryOption = None,
        budget_s: Annotated[
            float | None,
            Option("Seconds allowed for an approximate map.", optional(number(above=0))),
        ] = None,
        keep_trace: bool = False,
        spacing: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            model,
            fill=fill,
            signed=signed,
            score=score,
            outputs=outputs,
            output=output,
            engine=engine,
            precision=precision,
            max_memory=max_memory,
            batch_size=batch_size,
            progress=progress,
            keep_trace=keep_trace,
            spacing=spacing,
        )
        seconds = None if budget_s is None else real_number(budget_s)
        if budget_s is not None and (seconds is None or not seconds > 0):
            raise ValueError(f"budget_s must be a positive number of seconds, got {budget_s!r}")
        self.window = triple("window", window)
        self.stride = triple("stride", stride)
        self.budget_s = seconds

    @property
    def resumable(self) -> bool:
        """True for exact maps. A map with a time budget is quick to make again."""
        return self.budget_s is None

    def run(
        self,
        volume: Tensor | np.ndarray,
        target: Target = None,
        *,
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
        mask : array or Tensor, optional
            Region of interest: ``[D, H, W]`` for all scans, or ``[B, D, H, W]``. Only windows that
            contribute to the map inside it are scored. The map is 0 outside.
        reference : array or Tensor, optional
            With ``fill="scan:FILE"``: the volume of the file on the scan's voxel grid, ``[D, H, W]``, or
            ``[B, D, H, W]`` for one per scan. With several channels ``[C, D, H, W]``, or
            ``[B, C, D, H, W]``.
        forward_args : mapping, sequence or Tensor, optional
            Further inputs of the model, such as age (`pyadx.inference.forward_arguments`). They stay fixed
            while regions are filled.
        store : str or Path, optional
            File for the finished scores of a single scan. After an interruption the same call with
            ``resume`` continues from it and gives the same map to the last bit. Delete it once the map is
            saved.
        resume : bool
            Whether to continue with an existing ``store``.
        overwrite : bool
            Without ``resume``: whether to replace an existing ``store`` as soon as the first scores are
            written. With neither, an existing ``store`` is an error.

        Returns
        -------
        Explanation
            With an `OcclusionReport` per scan.

        Raises
        ------
        TypeError, ValueError
            If the volume, target, fill, mask or store does not fit.
        """
        volume = check_volume(volume, self.model)
        if store is not None and (volume.shape[0] != 1 or self.budget_s is not None):
            raise ValueError(
                "store= keeps the exact scores of one scan: pass one scan at a time, without budget_s"
            )
        kept = Store(None if store is None else Path(store), resume, overwrite)

        def explain(
            place: int, scan: Tensor, make: Callable[[], RegionScorer], inside: np.ndarray | None
        ) -> tuple[Tensor, RegionScorer, OcclusionReport]:
            return self._one(scan, make, inside, kept)

        return self._over_scans(volume, target, mask, reference, forward_args, explain)

    def _one(
        self, scan: Tensor, make: Callable[[], RegionScorer], inside: np.ndarray | None, store: Store
    ) -> tuple[Tensor, RegionScorer, OcclusionReport]:
        started = time.monotonic()
        grid = WindowGrid(tuple(scan.shape[1:]), self.window, self.stride)
        scorer = make()
        chosen = grid.painting(inside)
        regions = _of_all_windows(scorer.regions(grid.boxes()[chosen]), chosen)
        scored = len(regions.boxes)
        if self.budget_s is None:
            scores = self._scores(scorer, regions, store)
        else:
            scores, scored = coarse_to_fine(scorer, grid, regions, self.budget_s, started=started)
        heat = grid.paint(scores).to(scan.device)
        report = OcclusionReport(
            scorer.engine_name(regions.boxes),
            int(chosen.sum()),
            len(regions.boxes),
            scored,
            round(time.monotonic() - started, 4),
            self.budget_s,
        )
        if self.budget_s is not None and report.seconds > self.budget_s:
            warnings.warn(over_budget(report), stacklevel=5)
        return heat, scorer, report


def _of_all_windows(regions: Regions, chosen: np.ndarray) -> Regions:
    """Extend the regions of the chosen windows to all windows; the others get no region."""
    inverse = np.full(len(chosen), -1, np.int64)
    inverse[chosen] = regions.inverse
    return Regions(regions.boxes, inverse)


def over_budget(report: OcclusionReport) -> str:
    """Return the warning that a budget was too short, with the time it took."""
    return (
        f"the budget of {report.budget_s:g} s was too short: preparing the network and scoring "
        f"{report.scored:,} of {report.regions:,} regions took {report.seconds:.1f} s"
    )
