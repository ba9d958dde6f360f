"""Reading one layer's output during a forward pass."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a submodule by its dotted name.

    Raises
    ------
    ValueError
        If there is none, with the closest names there are.
    """
    modules = {key: module for key, module in model.named_modules() if key}
    if name in modules:
        return modules[name]
    close = difflib.get_close_matches(name, modules, n=5, cutoff=0.4) or list(modules)[-5:]
    raise ValueError(f"the model has no layer {name!r}; did you mean {', '.join(close)}?")


class Captured:
    """The feature maps that a layer gave, ``[B, K, d, h, w]``."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self._features: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """Feature maps of the forward pass that just ended."""
        if self._features is None:
            raise ValueError(f"layer {self.layer!r} did not run in the model's forward pass")
        return self._features

    def check(self, output: object) -> Tensor:
        """Return a layer's output without its graph, if it is one that can be kept."""
        if not isinstance(output, Tensor) or output.dim() != 5:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer {self.layer!r} must give feature maps [B,K,d,h,w], it gave {got}")
        if self._features is not None:
            raise ValueError(
                f"layer {self.layer!r} runs more than once in a forward pass; choose a layer that runs once"
            )
        return output.detach()

    def keep(self, features: Tensor) -> None:
        """Keep feature maps that were checked."""
        self._features = features


@contextmanager
def capture(model: nn.Module, layer: str, *, differentiable: bool = False) -> Iterator[Captured]:
    """Keep the output of a layer while the context lasts.

    Enter it under ``torch.no_grad()``. With ``differentiable=True`` recording starts at the layer: its
    output is a leaf, everything below it ran without autograd, everything above it is recorded, and a
    backward pass ends there. The hook is removed when the context ends, also after an error.

    Parameters
    ----------
    model : torch.nn.Module
        The model that is going to run.
    layer : str
        Dotted name of a submodule that gives ``[B, K, d, h, w]`` and runs once.
    differentiable : bool
        Whether the features are to take a gradient.

    Raises
    ------
    ValueError
        If there is no such layer, or its output is not of that form (raised by the forward pass).
    """
    captured = Captured(layer)

    def hook(module: nn.Module, args: object, output: object) -> Tensor | None:
        # Features are kept apart from what the model goes on with: a later in-place activation must
        # not change them. The copy is cheap next to the layer that made them.
        features = captured.check(output)
        if not differentiable:
            captured.keep(features.clone())
            return None
        captured.keep(features.requires_grad_(True))
        torch.set_grad_enabled(True)
        return features.clone()

    handle = find_layer(model, layer).register_forward_hook(hook)
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # undoes what the hook switches on
            yield captured
    finally:
        handle.remove()
