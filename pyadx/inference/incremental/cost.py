"""Predicts where recomputing boxes stops paying, from floating-point operations and bytes alone.

The prediction must not depend on the clock: a run that is resumed has to make the same choice. Only
ratios matter, so the rates are round figures, those of one core of a current server CPU.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, fx

from pyadx.inference.incremental.steps import Step
from pyadx.inference.incremental.trace import aten, functional

_FLOPS = 90e9  # a convolution kept in the caches
_BYTES = 6e9  # streaming through memory that nothing has in its cache
_CACHED_BYTES = 12e9  # patches go from cache to cache
_STEP = 2e-6  # what an operation costs per region, however small

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
    return flops / _FLOPS + 2 * size * value.element_size() / _BYTES + _STEP


def step_seconds(step: Step, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> np.ndarray:
    """Predict the time of one step for every region, float64 ``[R]``."""
    work = step.work(boxes, out_boxes)
    return np.asarray(work.flops / _FLOPS + work.bytes / _CACHED_BYTES + _STEP)


def scatter_seconds(node: fx.Node) -> float:
    """Predict the time of writing one whole map per region."""
    value = node.meta["val"]
    size = float(np.prod([int(n) for n in value.shape[1:]]))
    return 2 * size * value.element_size() / _BYTES


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
