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
    """How the map of one scan came about.

    Attributes
    ----------
    engine : str
        ``incremental``, ``full`` or ``both``.
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
class Occlusion(Perturbation):
    """Occlusion sensitivity: how far the class score moves when a box is filled.

    ``H(v) = s(V) - s(V with the box centred on v filled)`` for every voxel ``v`` of the grid that
    ``stride`` sets, where ``s`` is the class's log-odds and boxes are filled with the scan's local mean;
    between the voxels of a strided grid the map is interpolated. The preset ``paper`` fills with 0 and
    takes the absolute change of the probability (section 3.3). Windows that change
    no voxel score zero without a forward pass. `pyadx.explainers.windows` states where windows lie.

    Parameters
    ----------
    window : int or sequence of int
        Size of the box in voxels, one or one per axis; 7 in the paper.
    stride : int or sequence of int
        Distance between windows, one or one per axis; 1 in the paper. Any stride is allowed, also
        one larger than the window.
    budget_s : float, optional
        Seconds per scan for an approximate map: coarse windows first, finer ones where the map moves
        most (`pyadx.explainers.coarse_to_fine`). Tracing, caching and the first forward count; if these
        and 27 windows of a coarse grid take longer, a warning says so. The report says how many windows
        were scored and how long it took.
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
            Option("Seconds for an approximate map, coarse to fine.", optional(number(above=0))),
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
        """An exact map is; one within a budget ends soon anyway."""
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
            ``[B, C, D, H, W]`` or ``[C, D, H, W]``. Floating-point tensors are on the model's device and
            of its dtype; arrays and whole numbers are brought there.
        target : int, str, sequence, array or None
            Class whose score is followed, for all scans or one per scan; ``None`` takes the predicted
            class of each scan.
        mask : array or Tensor, optional
            Region of interest ``[D, H, W]``, for all scans, or ``[B, D, H, W]``. Only the windows that its
            voxels are painted from are scored. The map is 0 elsewhere.
        reference : array or Tensor, optional
            With ``fill="scan:FILE"``: what the file holds, ``[D, H, W]`` on the scan's voxels, or one for
            each scan, ``[B, D, H, W]``; of several channels ``[C, D, H, W]``.
        forward_args : mapping, sequence or Tensor, optional
            What the model takes besides the scans, such as age (`pyadx.inference.forward_arguments`); held
            fixed while regions are filled.
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
        if store is not None and (volume.shape[0] != 1 or self.budget_s is not None):
            raise ValueError("a store holds the exact scores of one scan: no batches, no budget_s")
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
    """Extend regions of some windows to all of them; the others come to no region."""
    inverse = np.full(len(chosen), -1, np.int64)
    inverse[chosen] = regions.inverse
    return Regions(regions.boxes, inverse)


def over_budget(report: OcclusionReport) -> str:
    """Say by how much a budget was missed, for a warning."""
    return (
        f"the budget of {report.budget_s:g} s was too short: preparing the network and scoring "
        f"{report.scored:,} of {report.regions:,} regions took {report.seconds:.1f} s"
    )
