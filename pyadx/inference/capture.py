"""Reading one layer's output during a forward pass."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from pyadx.inference.wrappers import inner_name

Layer = str | nn.Module | Sequence[str | nn.Module]


def layer_names(model: nn.Module, layer: Layer) -> tuple[str, ...]:
    """Return the dotted names of one layer or several, given by name or as the modules themselves.

    A layer that is registered under several names goes by the first.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, none at all, one of them twice, or no layer of the model that a hook can
        watch; for a name with the closest names there are.
    """
    several = isinstance(layer, Sequence) and not isinstance(layer, str)
    names = tuple(_layer_name(model, own) for own in (layer if several else [layer]))  # type: ignore[union-attr]
    if not names:
        raise ValueError("layer names no layer")
    if len(set(names)) < len(names):
        raise ValueError(f"a layer is named twice: {', '.join(names)}")
    return names


def _layer_name(model: nn.Module, layer: object) -> str:
    if isinstance(layer, str):
        layer = find_layer(model, layer)
    elif not isinstance(layer, nn.Module):
        raise TypeError(f"layer must be the name of a layer or a module, got {type(layer).__name__}")
    for name, module in model.named_modules():
        if module is layer and name:
            why = why_unwatched(model, name)
            if why is not None:
                raise ValueError(f"layer {name!r} cannot be watched: {why}")
            return name
    raise ValueError(f"the layer {type(layer).__name__} that was given is not part of the model")


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a submodule by its dotted name.

    Raises
    ------
    ValueError
        If there is none, with the closest names there are.
    """
    modules = {key: module for key, module in model.named_modules(remove_duplicate=False) if key}
    for spelling in (name, inner_name(name)):
        if spelling in modules:
            return modules[spelling]
    close = difflib.get_close_matches(name, modules, n=5, cutoff=0.4) or list(modules)[-5:]
    raise ValueError(f"the model has no layer {name!r}; did you mean {', '.join(close)}?")


def why_unwatched(model: nn.Module, layer: str = "") -> str | None:
    """Say why hooks on a layer, or on any, do not run in a model; None if nothing is known against it."""
    names = dict(model.named_modules(remove_duplicate=False))
    parts = layer.split(".")
    around = [names.get(".".join(parts[:depth])) for depth in range(len(parts) + 1)]
    if any(isinstance(module, torch.jit.ScriptModule) for module in around):
        return (
            "TorchScript code runs without the hooks that watch a layer: explain the Python model that was "
            "scripted (load_state_dict(scripted.state_dict()) gives it the weights), or use Occlusion"
        )
    # Such a program calls one module at most, which checks its input.
    if isinstance(model, fx.GraphModule) and all(
        node.op != "call_module" or node.target == "_guards_fn" for node in model.graph.nodes
    ):
        return (
            "a program of torch.export runs no layers that could be watched: explain the model that was "
            "exported, or use Occlusion"
        )
    return None


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

    def keep(self, features: Tensor | None) -> None:
        """Keep feature maps that were checked, or none yet."""
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
    grad_mode = torch.is_grad_enabled()

    def begin(module: nn.Module, args: object) -> None:
        # A forward pass that failed on channels-last maps is done again.
        captured.keep(None)
        torch.set_grad_enabled(grad_mode)

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

    handles = [find_layer(model, layer).register_forward_hook(hook), model.register_forward_pre_hook(begin)]
    try:
        with torch.set_grad_enabled(grad_mode):  # undoes what the hook switches on
            yield captured
    finally:
        for handle in handles:
            handle.remove()
