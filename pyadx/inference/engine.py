"""Which scorer runs: the incremental one where it can and pays, full forwards otherwise."""

import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor, nn

from pyadx.inference.errors import UntraceableError
from pyadx.inference.full import FullScorer
from pyadx.inference.incremental.scorer import IncrementalScorer, Precision
from pyadx.inference.incremental.trace import Trace, trace
from pyadx.inference.regions import Regions
from pyadx.inference.scorer import Scorer

Engine = Literal["auto", "incremental", "full"]

LEAST_GAIN = 1.1  # predicted; below that a trace and a cache are not worth having


def check_engine(engine: str) -> None:
    """Raise ``ValueError`` unless ``engine`` is a known kind."""
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {', '.join(get_args(Engine))}, got {engine!r}")


def scorer_for(
    engine: Engine,
    model: nn.Module,
    volume: Tensor,
    target: Any,
    boxes: Tensor,
    *,
    precision: Precision = "float32",
    max_memory: int | None = None,
    tracer: Callable[[nn.Module, Tensor], Trace] = trace,
    **options: Any,
) -> tuple[Scorer, Regions]:
    """Make the scorer for a list of boxes of one scan.

    Parameters
    ----------
    engine : {"auto", "incremental", "full"}
        ``auto`` takes the incremental scorer if the model can be traced and whole forwards are
        predicted to be slower; where the model cannot be traced it warns, naming the operation.
    model, volume, target, options
        As `pyadx.inference.scorer.Scorer` takes them.
    boxes : Tensor
        ``[N, 6]``.
    precision, max_memory, tracer
        As `IncrementalScorer` takes them.

    Returns
    -------
    scorer : Scorer
        Ready to score.
    regions : Regions
        What the boxes come to.

    Raises
    ------
    UntraceableError
        If ``engine`` is ``incremental`` and the model cannot be traced.
    """
    incremental = None
    if engine != "full":
        try:
            incremental = IncrementalScorer(
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
                f"occlusion runs one full forward per window: {error}", RuntimeWarning, stacklevel=3
            )
        else:
            regions = incremental.regions(boxes)
            if engine == "incremental" or incremental.gain(regions.boxes) >= LEAST_GAIN:
                return incremental, regions
    full = FullScorer(model, volume, target, **options)
    if incremental is not None:
        full.settle_batches_as(incremental)
    return full, full.regions(boxes)
