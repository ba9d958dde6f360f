"""Predicts from which operation on recomputing boxes no longer pays, from operation and byte counts.

The prediction must not depend on measured times, because a resumed run has to make the same choice. Only
ratios of the rates matter, so the rates are round figures.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor, fx

from pyadx.inference.incremental.steps import Step
from pyadx.inference.incremental.trace import aten, functional


class Rates(NamedTuple):
    """How fast a device is.

    Attributes
    ----------
    flops : float
        Floating-point operations per second of a convolution whose data is in the cache.
    bytes : float
        Bytes per second that are read or written in main memory.
    cached_bytes : float
        Bytes per second of patches, which stay in the cache.
    step : float
        Seconds that an operation takes per region, however small it is.
    """

    flops: float
    bytes: float
    cached_bytes: float
    step: float


_ONE_CORE = Rates(flops=90e9, bytes=6e9, cached_bytes=12e9, step=2e-6)  # of a current server CPU
# Not measured on CUDA yet: until then the choices there are those of a CPU.
RATES = {"cpu": _ONE_CORE, "cuda": _ONE_CORE}


def rates_of(node: fx.Node) -> Rates:
    """Return the rates of the device that holds a node's value; those of a CPU if the device has none."""
    return RATES.get(node.meta["val"].device.type, _ONE_CORE)


_CONVOLUTIONS = {aten.conv3d.default, aten.conv3d.padding}


def plain_seconds(node: fx.Node) -> float:
    """Predict the seconds that one operation takes on the whole maps of one scan."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return 0.0
    size = float(np.prod([int(n) for n in value.shape[1:]]))
    flops = 0.0
    weight = node.args[1] if len(node.args) > 1 else None
    if isinstance(weight, fx.Node) and isinstance(weight.meta.get("val"), Tensor):
        shape = [int(n) for n in weight.meta["val"].shape]
        if functional(node.target) in _CONVOLUTIONS:
            flops = 2.0 * size * float(np.prod(shape[1:]))
        elif functional(node.target) is aten.linear.default:
            flops = 2.0 * float(np.prod(shape))
    rates = rates_of(node)
    return flops / rates.flops + 2 * size * value.element_size() / rates.bytes + rates.step


def step_seconds(step: Step, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> np.ndarray:
    """Predict the seconds of one step for every region, float64 ``[R]``."""
    work, rates = step.work(boxes, out_boxes), rates_of(step.output)
    return np.asarray(work.flops / rates.flops + work.bytes / rates.cached_bytes + rates.step)


def scatter_seconds(node: fx.Node) -> float:
    """Predict the seconds that it takes to write one whole map per region."""
    value = node.meta["val"]
    size = float(np.prod([int(n) for n in value.shape[1:]]))
    return 2 * size * value.element_size() / rates_of(node).bytes


def rest_seconds(plain: Sequence[fx.Node], frontier: Sequence[fx.Node]) -> float:
    """Predict the seconds per region of the plain operations, and of scattering changes into whole maps."""
    return sum(map(plain_seconds, plain)) + sum(map(scatter_seconds, frontier))


def best_stop(
    steps: Sequence[Step], boxes: Mapping[fx.Node, np.ndarray], rest: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Choose for every region after how many steps whole maps are cheaper than boxes.

    Parameters
    ----------
    steps : sequence of Step
        All steps, in order.
    boxes : mapping
        Boxes of every local node, ``[R, 6]`` each.
    rest : sequence of float
        From `rest_seconds`, for every number of steps from 0 to ``len(steps)``: the seconds per region of
        what follows those steps.

    Returns
    -------
    stops : ndarray
        int64 ``[R]``: number of steps to run on boxes.
    gains : ndarray
        float64 ``[R]``: predicted time of a full forward, divided by that of the choice.
    """
    regions = len(next(iter(boxes.values())))
    spent = np.zeros(regions)
    stops, best = np.zeros(regions, np.int64), np.full(regions, rest[0])
    for stop, step in enumerate(steps, start=1):
        own = boxes.get(step.output, np.zeros((regions, 6), np.int32))
        spent = spent + step_seconds(step, [boxes[n] for n in step.inputs if n in boxes], own)
        better = spent + rest[stop] <= best
        stops[better], best[better] = stop, (spent + rest[stop])[better]
    return stops, rest[0] / best
