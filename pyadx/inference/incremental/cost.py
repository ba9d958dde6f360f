"""Predicts where recomputing boxes stops paying, from floating-point operations and bytes alone.

The prediction must not depend on the clock: a run that is resumed has to make the same choice. Only
ratios matter, so the rates are round figures.
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
        Per second, of a convolution kept in the caches.
    bytes : float
        Per second, streamed through memory that nothing has in its cache.
    cached_bytes : float
        Per second, of patches that go from cache to cache.
    step : float
        Seconds that an operation costs per region, however small.
    """

    flops: float
    bytes: float
    cached_bytes: float
    step: float


_ONE_CORE = Rates(flops=90e9, bytes=6e9, cached_bytes=12e9, step=2e-6)  # of a current server CPU
# CUDA's have not been measured: until they are, choices there are those of a CPU.
RATES = {"cpu": _ONE_CORE, "cuda": _ONE_CORE}


def rates_of(node: fx.Node) -> Rates:
    """Return the rates of the device that a node's value is on; those of a CPU where none are known."""
    return RATES.get(node.meta["val"].device.type, _ONE_CORE)


_CONVOLUTIONS = {aten.conv3d.default, aten.conv3d.padding}


def plain_seconds(node: fx.Node) -> float:
    """Predict the time of one operation on one whole scan."""
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
    """Predict the time of one step for every region, float64 ``[R]``."""
    work, rates = step.work(boxes, out_boxes), rates_of(step.output)
    return np.asarray(work.flops / rates.flops + work.bytes / rates.cached_bytes + rates.step)


def scatter_seconds(node: fx.Node) -> float:
    """Predict the time of writing one whole map per region."""
    value = node.meta["val"]
    size = float(np.prod([int(n) for n in value.shape[1:]]))
    return 2 * size * value.element_size() / rates_of(node).bytes


def rest_seconds(plain: Sequence[fx.Node], frontier: Sequence[fx.Node]) -> float:
    """Predict the time, per region, of what is left for whole maps."""
    return sum(map(plain_seconds, plain)) + sum(map(scatter_seconds, frontier))


def best_stop(
    steps: Sequence[Step], boxes: Mapping[fx.Node, np.ndarray], rest: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Choose, region by region, after how many steps whole maps are cheaper than boxes.

    Parameters
    ----------
    steps : sequence of Step
        In order.
    boxes : mapping
        Boxes of every local node, ``[R, 6]`` each.
    rest : sequence of float
        For every stop from 0 to ``len(steps)``: the seconds of what is left for whole maps, and of
        scattering changes into them.

    Returns
    -------
    stops : ndarray
        int64 ``[R]``: number of steps to take.
    gains : ndarray
        float64 ``[R]``: predicted time of a whole forward over that of the choice.
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
