"""How resampling, padding that repeats, strided views and transposed convolutions become steps."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.axis_steps import AlongAxes, TransposedConvolution
from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.steps import map_size
from pyadx.inference.incremental.trace import aten, functional, per_axis, with_defaults

RESIZES = {
    aten.upsample_nearest3d.vec, aten.upsample_nearest3d.default, aten.upsample_trilinear3d.vec,
    aten.upsample_trilinear3d.default, aten._upsample_nearest_exact3d.vec,
    aten._upsample_nearest_exact3d.default,
}  # fmt: skip
PADS = {
    aten.replication_pad3d.default: "replicate", aten.reflection_pad3d.default: "reflect",
}  # fmt: skip
TRANSPOSED = {aten.conv_transpose3d.input, aten.convolution.default}


def resize(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower an interpolation: torch's own weights are read off unit vectors along every axis."""
    target: Any = functional(node.target)
    matrices = []
    for axis, (given, made) in enumerate(zip(map_size(source), map_size(node), strict=True)):
        units = _units(given, axis, source)
        sizes = [1, 1, 1]
        sizes[axis] = made
        arguments = list(node.args[1:])
        kwargs = dict(node.kwargs)
        if target._overloadname == "vec":
            # Either an output size or scales are given; the other axes have one cell and keep it.
            if arguments[0] is not None:
                arguments[0] = sizes
            scales = (
                arguments[-1] if target._schema.arguments[len(arguments)].name == "scale_factors" else None
            )
            if scales is not None:
                factors: Any = scales
                arguments[-1] = [scale if a == axis else 1.0 for a, scale in enumerate(factors)]
        else:
            arguments[0] = sizes
        made_of_units = target(units, *arguments, **kwargs)
        if made_of_units.shape[axis + 2] != made:
            return
        matrices.append(_matrix(made_of_units, axis))
    low.add(AlongAxes(node, source, matrices))


def repeating_pad(low: Lowered, node: fx.Node, source: fx.Node, mode: str) -> None:
    """Lower padding by copies of cells; an axis at a time gives the same as all at once."""
    amounts: Any = node.args[1]
    pairs = [amounts[i : i + 2] for i in (4, 2, 0) if i + 1 < len(amounts)]
    pairs = [[0, 0]] * (3 - len(pairs)) + pairs
    matrices = []
    for (before, after), given in zip(pairs, map_size(source), strict=True):
        line = torch.eye(given, dtype=source.meta["val"].dtype)[None]  # one unit vector per channel
        padded = F.pad(line, (before, after), mode=mode) if before or after else line
        matrices.append(padded[0].T.to(source.meta["val"].device))
    low.add(AlongAxes(node, source, matrices))


def adaptive_average(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower adaptive average pooling to more than one cell."""
    sizes: Any = node.args[1]
    wanted = [own if n is None else int(n) for n, own in zip(sizes, map_size(source), strict=True)]
    matrices = []
    for axis, given in enumerate(map_size(source)):
        own = [1, 1, 1]
        own[axis] = wanted[axis]
        averages = aten.adaptive_avg_pool3d.default(_units(given, axis, source), own)
        matrices.append(_matrix(averages, axis))
    low.add(AlongAxes(node, source, matrices))


def strided_slice(low: Lowered, node: fx.Node, source: fx.Node) -> bool:
    """Lower a slice of a spatial axis that leaves cells out."""
    axis, start, stop, step = with_defaults(node.args[1:], [0, None, None, 1])
    if not all(isinstance(value, int | None) for value in (start, stop)) or not isinstance(step, int):
        return False
    if axis % 5 < 2 or node.meta["val"].dim() != 5:
        return False
    matrices = [torch.eye(n) for n in map_size(source)]
    matrices[axis % 5 - 2] = matrices[axis % 5 - 2][slice(start, stop, step)]
    low.add(AlongAxes(node, source, [_like(matrix, source) for matrix in matrices]))
    return True


def transposed_convolution(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a transposed convolution with fixed weights."""
    weight = low.constant(node.args[1])
    if functional(node.target) is aten.convolution.default:
        values = with_defaults(node.args[3:], [])
        stride, padding, dilation, transposed, _, groups = values
        if not transposed:
            return
    else:
        stride, padding, _, groups, dilation = with_defaults(node.args[3:], [1, 0, 0, 1, 1])
    if weight is None or weight.dim() != 5 or node.args[0] not in low.changing:
        return
    window = bx.Window(per_axis(weight.shape[2:]), per_axis(stride), per_axis(padding), per_axis(dilation))
    low.add(TransposedConvolution(node, source, weight, window, int(groups)))


def _units(count: int, axis: int, source: fx.Node) -> Tensor:
    """Return unit vectors along a spatial axis as channels, ``[1, count, ...]``, one cell elsewhere."""
    shape = [1, count, 1, 1, 1]
    shape[axis + 2] = count
    return _like(torch.eye(count), source).reshape(shape)


def _matrix(made: Tensor, axis: int) -> Tensor:
    """Return ``[out, in]`` from what an operation made of unit vectors."""
    lines = made[0].movedim(axis + 1, 1)
    return lines.reshape(*lines.shape[:2], -1)[..., 0].T


def _like(value: Tensor, source: fx.Node) -> Tensor:
    return value.to(source.meta["val"].dtype).to(source.meta["val"].device)
