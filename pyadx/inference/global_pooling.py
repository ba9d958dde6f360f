"""Find global average pooling followed by a linear output layer, in any model."""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from pyadx.inference.capture import why_unwatched
from pyadx.inference.model_state import Forward
from pyadx.inference.outputs import check_are_probabilities, check_outputs
from pyadx.inference.score import Outputs, as_logits, probabilities


@dataclass(frozen=True)
class GapHead:
    """Global average pooling and the output layer of a model.

    Attributes
    ----------
    layer : str
        Dotted name of the layer whose feature maps are averaged.
    output_layer : torch.nn.Linear
        The layer that turns the means into outputs.
    """

    layer: str
    output_layer: nn.Linear

    def rows(self) -> Tensor:
        """Return the weights of the output layer, ``[classes, K]``."""
        return self.output_layer.weight.detach()


def find_gap_head(model: nn.Module, forward: Forward, scan: Tensor, kind: Outputs = "logits") -> GapHead:
    """Find the pooled layer and the output layer by watching one forward pass.

    The output layer is the last linear layer whose result equals the model's outputs. If the model returns
    probabilities, it is the last one whose result gives these probabilities. The pooled layer is the last
    layer whose spatial mean equals the input of the output layer. Both are found by their values, so names
    and structure of the model do not matter.

    Parameters
    ----------
    model : torch.nn.Module
        Model in evaluation mode.
    forward : Forward
        Runs the model.
    scan : Tensor
        ``[1, C, D, H, W]``.
    kind : {"logits", "probabilities", "log_probabilities"}
        What the model returns.

    Returns
    -------
    GapHead
        The two layers.

    Raises
    ------
    TypeError
        If the model does not return a tensor.
    ValueError
        If there is no such output layer or pooled layer, or the class scores are unusable.
    """
    why = why_unwatched(model)
    if why is not None:
        raise ValueError(f"CAM cannot find the layers of this model: {why}")
    widths = {module.in_features for module in model.modules() if isinstance(module, nn.Linear)}
    linear: list[tuple[nn.Linear, Tensor, Tensor]] = []
    means: list[tuple[str, Tensor]] = []

    def begin(module: nn.Module, args: object) -> None:
        # Forward repeats a pass that failed on channels-last maps.
        linear.clear()
        means.clear()

    def watch_linear(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        linear.append((module, args[0].detach().clone(), output.detach().clone()))

    def watch_maps(name: str):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, args: object, output: object) -> None:
            if not isinstance(output, Tensor) or output.dim() != 5 or output[0, 0].numel() == 1:
                return
            if output.shape[1] in widths:  # no need to average maps that fit no linear layer
                means.append((name, output.detach().mean((2, 3, 4), dtype=torch.float64)))

        return hook

    handles = []
    try:
        handles.append(model.register_forward_pre_hook(begin))
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if isinstance(module, nn.Linear):
                handles.append(module.register_forward_hook(watch_linear))
            elif name:
                handles.append(module.register_forward_hook(watch_maps(name)))
        outputs = check_outputs(forward(scan), 1, kind)
    finally:
        for handle in handles:
            handle.remove()
    check_are_probabilities(outputs, kind)
    chosen = next((own for own in reversed(linear) if _gives(own[2], outputs, kind)), None)
    if chosen is None:
        others = [
            k for k in get_args(Outputs) if k != kind and linear and _gives(linear[-1][2], outputs, k)
        ]
        advice = f"outputs={others[0]!r} describes this one" if others else "use GradCAM for this one"
        raise ValueError(
            "CAM needs a model whose last operation is a linear layer after global average pooling; "
            + advice
        )
    output_layer, given, _ = chosen
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
    rounding = max(1e-3, 2 * torch.finfo(given.dtype).eps)  # bfloat16 keeps two to three digits
    for name, mean in reversed(means):
        if mean.shape == given.shape and torch.allclose(mean, given.double(), rtol=rounding, atol=1e-6):
            return GapHead(name, output_layer)
    raise ValueError(
        "CAM needs an output layer whose inputs are the spatial means of a layer's feature maps, and this "
        "model has none; use GradCAM, or a variant with global average pooling"
        + (" (layers in TorchScript code cannot be watched)" if scripted else "")
    )


def _gives(scores: Tensor, outputs: Tensor, kind: Outputs) -> bool:
    """Whether a linear layer's result equals the model's outputs, or gives the same probabilities."""
    if kind == "logits" or scores.shape != outputs.shape:
        return torch.equal(scores, outputs)
    shares = probabilities(as_logits(outputs.double(), kind, outputs.dtype))
    return torch.allclose(probabilities(scores.double()), shares, rtol=1e-3, atol=1e-6)
