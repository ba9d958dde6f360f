"""Scoring regions of very different sizes: each with the engine that is cheaper for it."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.inference.engine import LEAST_GAIN, Engine
from pyadx.inference.errors import UntraceableError
from pyadx.inference.full import FullScorer
from pyadx.inference.incremental.boxes import by_size
from pyadx.inference.incremental.scorer import IncrementalScorer, Precision
from pyadx.inference.incremental.trace import Trace, trace
from pyadx.inference.progress import progress_bar
from pyadx.inference.regions import Regions
from pyadx.inference.scorer import Scorer
from pyadx.inference.segments import distinct_segments


class SegmentScorer:
    """Scores intervals of a label volume in one scan.

    Small regions go through the incremental scorer, regions whose boxes cover too much of the scan
    through `pyadx.ops.occlude_labels` and full forwards, as the cost model predicts.

    Parameters
    ----------
    engine : {"auto", "incremental", "full"}
        ``auto`` decides region by region; the others do not.
    model, volume, target, precision, max_memory, tracer, options
        As `pyadx.inference.IncrementalScorer` takes them.

    Attributes
    ----------
    incremental, full : int
        How many regions each engine has scored.
    outputs : Tensor
        The model's class scores of the unperturbed scan, ``[1, classes]``.
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
        progress: bool = False,
        **options: Any,
    ) -> None:
        self._engine = engine
        self._arguments, self._options = (model, volume, target), options
        self._progress = progress
        self._fast: IncrementalScorer | None = None
        self._slow: FullScorer | None = None
        self.incremental = self.full = 0
        if engine != "full":
            try:
                self._fast = IncrementalScorer(
                    *self._arguments,
                    precision=precision,
                    max_memory=max_memory,
                    tracer=tracer,
                    **options,
                )
            except UntraceableError as error:
                if engine == "incremental":
                    raise
                warnings.warn(
                    f"occlusion runs one full forward per region: {error}", RuntimeWarning, stacklevel=3
                )
        self.outputs = (self._fast or self._full()).outputs

    def score(self, labels: Any, intervals: Any) -> Tensor:
        """Return how far the score of the scan moves when each interval is filled.

        Parameters
        ----------
        labels : array or Tensor
            Integers ``[D, H, W]`` from 0.
        intervals : array or Tensor
            Integers ``[N, 2]``: voxels with ``lo <= label < hi`` are filled.

        Returns
        -------
        Tensor
            ``[N]``; zero where no voxel changes.
        """
        scorer: Scorer = self._fast or self._full()
        regions = distinct_segments(scorer.volume, labels, intervals, scorer.fill)
        scores = torch.zeros(len(regions.boxes), dtype=scorer.outputs.dtype, device=scorer.volume.device)
        with progress_bar("occlusion", len(regions.boxes), self._progress) as advance:
            for members in by_size(regions.boxes):
                part = regions.part(members)
                chosen = self._choose(part)
                if isinstance(chosen, FullScorer):
                    self.full += len(members)
                else:
                    self.incremental += len(members)
                index = torch.from_numpy(members).to(scores.device)
                scores[index] = chosen.score_regions(part, advance=advance)
        return regions.spread(scores)

    def _choose(self, regions: Regions) -> Scorer:
        if self._fast is None:
            return self._full()
        if self._engine == "auto" and self._fast.gain(regions.boxes) < LEAST_GAIN:
            return self._full()
        return self._fast

    def _full(self) -> FullScorer:
        if self._slow is None:
            self._slow = FullScorer(*self._arguments, **self._options)
            if self._fast is not None:
                self._slow.settle_batches_as(self._fast)
        return self._slow
