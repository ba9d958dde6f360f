"""Choose an engine for each region: incremental where it is possible and faster, else full forwards."""

import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor, nn

from pyadx.inference.baseline import Snapshot
from pyadx.inference.chunks import Wait, gathered
from pyadx.inference.errors import UntraceableError
from pyadx.inference.full import FullScorer
from pyadx.inference.incremental.options import Precision
from pyadx.inference.incremental.scorer import IncrementalScorer
from pyadx.inference.incremental.trace import Trace, trace
from pyadx.inference.regions import Regions
from pyadx.inference.scorer import Scorer

Engine = Literal["auto", "incremental", "full"]

# Share of a forward pass that is recomputed on whole maps, above which a warning names the cause.
_LARGE_SHARE = 0.3


def check_engine(engine: str) -> None:
    """Raise ``ValueError`` unless ``engine`` is a known kind."""
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {', '.join(get_args(Engine))}, got {engine!r}")


class RegionScorer(Scorer):
    """Scores regions of one scan, each with the engine that is predicted to be faster for it.

    The choice depends only on the region itself. Its score therefore depends on no other region.

    Parameters
    ----------
    engine : {"auto", "incremental", "full"}
        ``auto`` chooses for each region; the other values set the engine for all. With ``auto``, a warning
        names the operation and line if the model cannot be traced, or if an operation forces much of it
        to be recomputed on whole maps.
    model, volume, target, precision, max_memory, tracer, options
        As in `pyadx.inference.IncrementalScorer`.

    Raises
    ------
    UntraceableError
        If ``engine`` is ``incremental`` and the model cannot be traced.
    TypeError, ValueError
        As in `pyadx.inference.IncrementalScorer`, or if the engine is unknown.
    """

    def __init__(
        self,
        engine: Engine,
        model: nn.Module,
        volume: Tensor,
        target: Any,
        *,
        precision: Precision = "float32",
        max_memory: int | None = None,
        tracer: Callable[[nn.Module, Tensor], Trace] = trace,
        **options: Any,
    ) -> None:
        check_engine(engine)
        self.engine = engine
        self._fast: IncrementalScorer | None = None
        if engine != "full":
            try:
                self._fast = IncrementalScorer(
                    model,
                    volume,
                    target,
                    precision=precision,
                    max_memory=max_memory,
                    tracer=tracer,
                    **options,
                )
            except UntraceableError as error:
                if engine == "incremental":
                    raise
                warnings.warn(
                    f"occlusion runs one full forward per region: {error}",
                    RuntimeWarning,
                    stacklevel=3,
                )
        if engine == "auto" and self._fast is not None:
            end = self._fast.ending()
            if end is not None and end.share > _LARGE_SHARE:
                warnings.warn(end.words, RuntimeWarning, stacklevel=3)
        if self._fast is None:
            self._slow = FullScorer(model, volume, target, **options)
            self.share(self._slow)
        else:
            self._slow = FullScorer.sharing(self._fast)
            self.share(self._fast)

    def incremental(self, boxes: np.ndarray) -> np.ndarray:
        """Return which regions ``[R, 6]`` the incremental engine scores, bool ``[R]``."""
        if self._fast is None:
            return np.zeros(len(boxes), bool)
        if self.engine == "incremental":
            return np.ones(len(boxes), bool)
        return self._fast.pays(boxes)

    def gains(self, boxes: np.ndarray) -> np.ndarray:
        """Predict how many times faster each region ``[R, 6]`` is than with a full forward, ``[R]``."""
        if self._fast is None or not len(boxes):
            return np.ones(len(boxes))
        return self._fast.gains(boxes)

    def engine_name(self, boxes: np.ndarray) -> str:
        """Return which engine scores these regions: ``incremental``, ``full`` or ``both``."""
        fast = self.incremental(boxes)
        if fast.all() and self._fast is not None:
            return "incremental"
        return "both" if fast.any() else "full"

    def commit(self, regions: Regions, values: Tensor | None = None) -> Tensor:
        """Fill regions permanently, with the incremental engine if there is one; see `Baseline.commit`."""
        scores = self._first.commit(regions, values)
        self._share_base()
        return scores

    def refill(self, fill: Tensor) -> None:
        """Change the fill values; see `Baseline.refill`."""
        self._first.refill(fill)
        self._share_base()

    def rebase(self, volume: Tensor | None = None) -> float:
        """Start afresh from a scan; see `Baseline.rebase`."""
        drift = self._first.rebase(volume)
        self._share_base()
        return drift

    def snapshot(self, regions: Regions) -> Snapshot:
        """Take a snapshot of the scan; see `Baseline.snapshot`."""
        return self._first.snapshot(regions)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to the scan of a snapshot; see `Baseline.restore`."""
        self._first.restore(snapshot)
        self._share_base()

    @property
    def _first(self) -> Scorer:
        return self._slow if self._fast is None else self._fast

    def _share_base(self) -> None:
        self.share(self._first)
        if self._fast is not None:
            self._slow.share(self._fast)

    def _prepare(self, boxes: np.ndarray) -> None:
        fast = self.incremental(boxes)
        if self._fast is not None and fast.any():
            self._fast._prepare(boxes[fast])

    @property
    def _ahead(self) -> int:
        return self._first._ahead

    def _launch_chunk(self, regions: Regions, advance: Callable[[int], None]) -> Wait:
        fast = self.incremental(regions.boxes)
        launched = []
        for engine, chosen in ((self._fast, fast), (self._slow, ~fast)):
            if engine is not None and chosen.any():
                members = np.flatnonzero(chosen)
                launched.append((members, engine._launch_chunk(regions.part(members), advance)))
        return lambda: gathered(self._outputs.new_empty(len(regions.boxes)), launched)
