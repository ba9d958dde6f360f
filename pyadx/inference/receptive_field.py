"""Where the cells of a layer are on the scan.

Along one axis, the receptive field of cell ``i`` of a feature map is centred on voxel
``offset + stride * i``. The two numbers follow from the kernels, strides, paddings and dilations between
the input and the layer (Dumoulin and Visin, 2016, section on receptive field arithmetic). The operations
are read from the traced model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pyadx.inference.adapted import inside_of, own_name
from pyadx.inference.capture import find_layer
from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.trace import Trace, aten, functional, per_axis, trace, with_defaults

Axes = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """Centres of a layer's cells on the scan: voxel ``offset + stride * i`` along each axis."""

    stride: Axes = (1.0, 1.0, 1.0)
    offset: Axes = (0.0, 0.0, 0.0)

    def after(self, stride: Sequence[float], shift: Sequence[float]) -> "Geometry":
        """Return the geometry of a map whose cell ``i`` is at cell ``shift + stride * i`` of this one."""
        offset = tuple(o + s * t for o, s, t in zip(self.offset, self.stride, shift, strict=True))
        steps = tuple(s * t for s, t in zip(self.stride, stride, strict=True))
        return Geometry(_axes(steps), _axes(offset))


def layer_geometry(
    model: nn.Module,
    layer: str,
    volume: Tensor,
    tracer: Callable[[nn.Module, Tensor], Trace] = trace,
) -> Geometry:
    """Work out where the cells of a layer are on the scan.

    Parameters
    ----------
    model : torch.nn.Module
        Any model that ``torch.export`` can trace, in evaluation mode.
    layer : str
        Dotted name of a submodule. If it runs more than once, its last run counts.
    volume : Tensor
        ``[C, D, H, W]``; only its shape, dtype and device matter.
    tracer : callable
        Function that traces the model, like `pyadx.inference.incremental.trace.trace`.

    Returns
    -------
    Geometry
        Stride and offset per axis, in voxels of the model's input.

    Raises
    ------
    UntraceableError
        A ``ValueError``: the model cannot be traced, the layer is not part of the traced graph, or an
        operation between input and layer has no fixed stride and offset. The message names it.
    ValueError
        If the model has no layer of this name.
    """
    handle = find_layer(inside_of(model), layer).register_forward_hook(_mark)
    try:
        traced = tracer(model, volume)
    finally:
        handle.remove()
    found: dict[fx.Node, Geometry | str] = {traced.input: Geometry()}
    wanted: fx.Node | None = None
    for node in traced.nodes:
        sources = [source for source in node.all_input_nodes if source not in traced.constants]
        found[node] = _geometry_after(node, [found[s] for s in sources if s in found])
        if layer in _module_paths(node):
            wanted = node
    if wanted is None:
        raise UntraceableError(f"layer {layer!r} does not appear in the traced model")
    geometry = found[wanted]
    if isinstance(geometry, Geometry):
        return geometry
    raise UntraceableError(geometry)


def _mark(module: nn.Module, arguments: object, output: object) -> object:
    """Copy a layer's output: layers that compute nothing, such as an identity, then appear in the graph."""
    return output.clone() if isinstance(output, Tensor) else output


def _module_paths(node: fx.Node) -> set[str]:
    """Return the dotted names of the modules that an operation is part of."""
    return {own_name(str(path)) for path, _ in (node.meta.get("nn_module_stack") or {}).values()}


def _geometry_after(node: fx.Node, before: Sequence[Geometry | str]) -> Geometry | str:
    """Return the geometry of an operation's result, or a string that says why it has none."""
    target: Any = functional(node.target)
    name = getattr(node.target, "__name__", str(node.target))
    if not before:
        return f"{name} does not depend on the scan"
    known = [geometry for geometry in before if isinstance(geometry, Geometry)]
    if len(known) < len(before):
        return next(geometry for geometry in before if isinstance(geometry, str))
    if any(geometry != known[0] for geometry in known):
        return f"{name} combines feature maps whose cells are at different places of the scan"
    if target in _MOVES:
        return _MOVES[target](known[0], node)
    if target in _CELLWISE or torch.Tag.pointwise in getattr(target, "tags", ()):
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dim() == 5:
            return known[0]
    return f"{name} has no fixed stride and offset"


def _convolution(before: Geometry, node: fx.Node) -> Geometry:
    # input, weight, bias, stride, padding, dilation, groups
    arguments = with_defaults(node.args, (None, None, None, 1, 0, 1, 1))
    kernel = per_axis(arguments[1].meta["val"].shape[2:])
    padding, dilation = arguments[4], per_axis(arguments[5])
    if padding == "same":  # of an odd total, the extra voxel is added at the far side
        padding = [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
    elif padding == "valid":
        padding = 0
    return _window(before, kernel, per_axis(arguments[3]), per_axis(padding), dilation)


def _max_pool(before: Geometry, node: fx.Node) -> Geometry:
    # input, kernel, stride, padding, dilation, ceil_mode
    _, kernel, stride, padding, dilation, _ = with_defaults(node.args, (None, None, None, 0, 1, False))
    return _window(
        before, per_axis(kernel), per_axis(stride or kernel), per_axis(padding), per_axis(dilation)
    )


def _average_pool(before: Geometry, node: fx.Node) -> Geometry:
    # input, kernel, stride, padding, and others
    _, kernel, stride, padding = with_defaults(node.args, (None, None, None, 0))[:4]
    return _window(before, per_axis(kernel), per_axis(stride or kernel), per_axis(padding), (1, 1, 1))


def _window(
    before: Geometry,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Geometry:
    """Return the geometry after a sliding window."""
    shift = [d * (k - 1) / 2 - p for k, p, d in zip(kernel, padding, dilation, strict=True)]
    return before.after(stride, shift)


def _resize(before: Geometry, node: fx.Node) -> Geometry | str:
    """Nearest and trilinear resizing: cell ``i`` is at ``(i + 0.5) / scale - 0.5`` of the source map."""
    source = node.all_input_nodes[0].meta["val"].shape[2:]
    result = node.meta["val"].shape[2:]
    if functional(node.target) is aten.upsample_trilinear3d.vec and node.args[2]:  # align_corners
        return f"{node.target} with align_corners=True is not supported"
    steps = [int(n) / int(m) for n, m in zip(source, result, strict=True)]
    return before.after(steps, [(step - 1) / 2 for step in steps])


def _pad(before: Geometry, node: fx.Node) -> Geometry | str:
    amounts: Any = node.args[1]
    if len(amounts) > 6 and any(amounts[6:]):
        return f"{node.target} pads channels or scans"
    low = [*amounts[0:6:2], 0, 0, 0][:3][::-1]  # torch lists the last axis first
    return before.after((1, 1, 1), [-n for n in low])


def _slice(before: Geometry, node: fx.Node) -> Geometry | str:
    # input, axis, start, end, step
    _, axis, start, _, step = with_defaults(node.args, (None, 0, None, None, 1))
    if axis < 2:
        return before
    length = int(node.all_input_nodes[0].meta["val"].shape[axis])
    first = min(max((start or 0) + (length if (start or 0) < 0 else 0), 0), length)
    steps, shift = [1, 1, 1], [0, 0, 0]
    steps[axis - 2], shift[axis - 2] = step, first
    return before.after(steps, shift)


_MOVES: dict[Any, Callable[[Geometry, fx.Node], Geometry | str]] = {
    aten.conv3d.default: _convolution,
    aten.conv3d.padding: _convolution,
    aten.max_pool3d.default: _max_pool,
    aten.avg_pool3d.default: _average_pool,
    aten.upsample_nearest3d.vec: _resize,
    aten.upsample_trilinear3d.vec: _resize,
    aten.constant_pad_nd.default: _pad,
    aten.pad.default: _pad,
    aten.slice.Tensor: _slice,
}
# Operations that move no cell. Normalisation may use all cells, but leaves each in its place. The others
# are composite operations, which lack the pointwise tag.
_CELLWISE = {
    aten.batch_norm.default, aten.instance_norm.default, aten.group_norm.default, aten.cat.default,
    aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default, aten.clone.default, aten.contiguous.default, aten.to.dtype,
    aten.to.device,
    aten.selu.default, aten.relu6.default, aten.square.default, aten.prelu.default, aten.softmax.int,
    aten.expand.default, aten._assert_tensor_metadata.default,
}  # fmt: skip


def _axes(values: Sequence[float]) -> Axes:
    z, y, x = (float(n) for n in values)
    return z, y, x
