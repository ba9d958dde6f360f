"""Base of Grad-CAM and its relatives: feature maps weighted by the gradient of the class score."""

from abc import abstractmethod

import torch
from torch import Tensor, fx, nn

from pyadx.explainers.activation_maps import ActivationMaps
from pyadx.explainers.options import MapOptions
from pyadx.explainers.shared_options import (
    AlignOption,
    LayerOption,
    OutputOption,
    OutputsOption,
    RectifyOption,
    ScoreOption,
)
from pyadx.inference.batching import BatchSize
from pyadx.inference.capture import layer_names, why_unwatched
from pyadx.inference.model_state import Forward
from pyadx.inference.score import class_score
from pyadx.inference.wrappers import described, unwrapped


class GradientMaps(ActivationMaps):
    """Methods that combine the feature maps of a layer with the gradient there. Subclasses say how.

    The parameters are those of `GradCAM`; only the default of ``rectify`` differs.
    """

    differentiable = True

    def __init__(
        self,
        model: nn.Module,
        layer: LayerOption = None,
        rectify: RectifyOption = "relu",
        *,
        align: AlignOption = "stretch",
        score: ScoreOption = "logit",
        outputs: OutputsOption = "logits",
        output: OutputOption = None,
        batch_size: BatchSize = "auto",
        progress: bool | None = None,
        keep_trace: bool = False,
    ) -> None:
        super().__init__(
            model, MapOptions(score, outputs, batch_size, progress, rectify, align), keep_trace, output
        )
        names = layer_names(self._network, _default_layer(model) if layer is None else layer)
        self.layer = names[0] if len(names) == 1 else names

    @abstractmethod
    def _combined(self, gradient: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps that are summed, and their weights.

        Parameters
        ----------
        gradient, features : Tensor
            Derivative of the class score, and feature maps: both ``[B, K, d, h, w]`` in the model's dtype.

        Returns
        -------
        tuple of Tensor
            Maps ``[B, N, d, h, w]`` and weights ``[B, N]``, in `sum_dtype`.
        """

    def _layers(self, forward: Forward, volume: Tensor) -> tuple[str, ...]:
        return (self.layer,) if isinstance(self.layer, str) else self.layer

    def _summands(
        self, features: Tensor, outputs: Tensor, classes: Tensor, layer: str
    ) -> tuple[Tensor, Tensor]:
        scores = class_score(outputs, classes, self._run.score)
        gradient = None
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores.sum(), features, allow_unused=True)
        if gradient is None:
            raise ValueError(f"the class score does not depend on layer {layer!r} in a differentiable way")
        with torch.no_grad():
            return self._combined(gradient, features.detach())


def sum_dtype(values: Tensor) -> torch.dtype:
    """Return the dtype for sums over a layer: float64 for a network in float64, otherwise float32."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def summed_products(weights: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the map ``sum_k w_k(x) f_k(x)``, where weights differ from cell to cell.

    Parameters
    ----------
    weights, features : Tensor
        ``[B, K, d, h, w]``.

    Returns
    -------
    tuple of Tensor
        The map as a single summand ``[B, 1, d, h, w]``, and its weight 1, ``[B, 1]``.
    """
    dtype = sum_dtype(features)
    total = (weights.to(dtype) * features.to(dtype)).sum(1, keepdim=True)
    return total, total.new_ones(len(total), 1)


def _is_convolution(module: nn.Module) -> bool:
    """Whether a layer is a 3D convolution, or a graph of a single one (from an exported program)."""
    graph = None if isinstance(module, nn.Conv3d) else getattr(module, "graph", None)
    if not isinstance(graph, fx.Graph):
        return isinstance(module, nn.Conv3d)
    operations = [node.target for node in graph.nodes if node.op == "call_function"]
    return any(target in _CONVOLUTIONS for target in operations) and len(operations) == 1


_CONVOLUTIONS = (torch.ops.aten.conv3d.default, torch.ops.aten.conv3d.padding)


def _default_layer(model: nn.Module) -> str:
    declared = getattr(described(model, "gradcam_layer"), "gradcam_layer", None)
    if isinstance(declared, str):
        return declared
    inside = unwrapped(model)
    convolutions = [name for name, m in inside.named_modules() if _is_convolution(m)]
    if not convolutions:
        reason = why_unwatched(inside) or "name a layer that returns feature maps"
        raise ValueError(f"the model has no 3D convolution to use as default layer: {reason}")
    return convolutions[-1]
