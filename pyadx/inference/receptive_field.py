"""Where the cells of a layer lie on the scan.

Cell ``i`` of a feature map along one axis sees a range of voxels whose centre is
``offset + stride * i``. The two numbers follow from the kernels, strides, paddings and dilations on the
way to the layer (Dumoulin and Visin, 2016, section on receptive field arithmetic); the way is found by
tracing the model with ``torch.fx``.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn


@dataclass(frozen=True)
class Geometry:
    """Centre of a layer's cells on the scan: ``offset + stride * i`` voxels, one value per axis."""

    stride: tuple[float, float, float]
    offset: tuple[float, float, float]

    def window(
        self,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[float],
        dilation: Sequence[int],
    ) -> "Geometry":
        """Return the geometry after a sliding window with the given sizes."""
        offsets = (
            o + s * (d * (k - 1) / 2 - p)
            for o, s, k, p, d in zip(self.offset, self.stride, kernel, padding, dilation, strict=True)
        )
        strides = (s * t for s, t in zip(self.stride, stride, strict=True))
        return Geometry(_triple(strides), _triple(offsets))


class UntraceableError(ValueError):
    """The position of a layer's cells cannot be worked out; the message says why."""


def _triple(values: Any) -> tuple[Any, Any, Any]:
    if isinstance(values, int | float):
        return (values, values, values)
    a, b, c = values
    return (a, b, c)


_WINDOW_MODULES = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d)
_CELLWISE_MODULES: tuple[type[nn.Module], ...] = (
    nn.BatchNorm3d, nn.InstanceNorm3d, nn.GroupNorm, nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU,
    nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Dropout, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)  # fmt: skip
_CELLWISE_FUNCTIONS: set[Callable[..., Any]] = {
    F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.sigmoid, F.tanh, F.softplus,
    F.hardswish, F.dropout, F.dropout3d, F.batch_norm, F.instance_norm, F.group_norm, torch.relu,
    torch.sigmoid, torch.tanh,
}  # fmt: skip
_COMBINING_FUNCTIONS: set[Callable[..., Any]] = {
    operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv,
    torch.add, torch.sub, torch.mul, torch.div, torch.cat, torch.maximum, torch.minimum,
}  # fmt: skip
_CELLWISE_METHODS = {"contiguous", "relu", "relu_", "sigmoid", "tanh", "clone", "float", "to"}
_COMBINING_METHODS = {"add", "add_", "sub", "mul", "mul_", "div"}


def layer_geometry(model: nn.Module, layer: str) -> Geometry:
    """Work out where the cells of a layer lie.

    Parameters
    ----------
    model : torch.nn.Module
        Any model that ``torch.fx`` can trace.
    layer : str
        Dotted name of a submodule.

    Returns
    -------
    Geometry
        Stride and offset per axis, in voxels of the model's input.

    Raises
    ------
    UntraceableError
        A ``ValueError``: the model cannot be traced, the layer is not on the traced way, or an
        operation on the way has no fixed geometry; the message names it.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:  # tracing runs the user's code, which may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UntraceableError(f"torch.fx cannot trace the model: {reason}") from None
    walk = _Walk(dict(model.named_modules()))
    wanted: fx.Node | None = None
    for node in graph.nodes:
        walk.visit(node)
        if (node.op == "call_module" and node.target == layer) or any(
            _path(entry) == layer for entry in _module_stack(node)
        ):
            wanted = node
    if wanted is None:
        raise UntraceableError(f"layer {layer!r} does not appear in the traced model")
    found = walk.geometry[wanted]
    if isinstance(found, Geometry):
        return found
    raise UntraceableError(found)


def _module_stack(node: fx.Node) -> list[Any]:
    return list((node.meta.get("nn_module_stack") or {}).values())


def _path(entry: Any) -> str:
    return entry[0] if isinstance(entry, tuple) else str(entry)


class _Walk:
    """Follows the geometry through a traced graph; a string says why a node has none."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules = modules
        self.geometry: dict[fx.Node, Geometry | str] = {}

    def visit(self, node: fx.Node) -> None:
        self.geometry[node] = self._after(node)

    def _after(self, node: fx.Node) -> Geometry | str:
        if node.op == "placeholder":
            return Geometry((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
        inputs = [self.geometry[parent] for parent in node.all_input_nodes]
        known = [g for g in inputs if isinstance(g, Geometry)]
        if not inputs:
            return f"{node.format_node()} does not depend on the scan"
        if len(known) < len(inputs):
            return next(g for g in inputs if isinstance(g, str))
        if node.op == "call_module":
            return self._after_module(self.modules[str(node.target)], str(node.target), known[0])
        if node.op == "call_function":
            return self._after_function(node, known)
        if node.op == "call_method":
            if node.target in _CELLWISE_METHODS:
                return known[0]
            if node.target in _COMBINING_METHODS:
                return _agreed(known, str(node.target))
            return f"the method {node.target!r} has no fixed geometry"
        return known[0]

    def _after_module(self, module: nn.Module, name: str, before: Geometry) -> Geometry | str:
        if isinstance(module, _WINDOW_MODULES):
            kernel = _triple(module.kernel_size)
            dilation = _triple(getattr(module, "dilation", 1))
            padding = _padding(module.padding, kernel, dilation)
            return before.window(kernel, _triple(module.stride), padding, dilation)
        if isinstance(module, _CELLWISE_MODULES):
            return before
        return f"the module {name!r} ({type(module).__name__}) has no fixed geometry"

    def _after_function(self, node: fx.Node, known: list[Geometry]) -> Geometry | str:
        function: Any = node.target
        if function in _CELLWISE_FUNCTIONS:
            return known[0]
        if function in _COMBINING_FUNCTIONS:
            return _agreed(known, function.__name__)
        if function in (F.max_pool3d, F.avg_pool3d):
            kernel = _triple(_argument(node, 1, "kernel_size", None))
            stride = _argument(node, 2, "stride", None)
            padding = _triple(_argument(node, 3, "padding", 0))
            dilation = _triple(_argument(node, 4, "dilation", 1) if function is F.max_pool3d else 1)
            return known[0].window(kernel, _triple(stride or kernel), padding, dilation)
        return f"the function {getattr(function, '__name__', function)!r} has no fixed geometry"


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _padding(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[Any, ...]:
    if padding == "valid":
        return (0, 0, 0)
    if padding == "same":  # an even remainder goes to the far side
        return tuple((d * (k - 1)) // 2 for k, d in zip(kernel, dilation, strict=True))
    return _triple(padding)


def _agreed(known: list[Geometry], name: str) -> Geometry | str:
    if all(g == known[0] for g in known):
        return known[0]
    return f"{name!r} combines maps whose cells lie at different places"
