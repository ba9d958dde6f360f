"""Read a layer's output during a forward pass."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from pyadx.inference.wrappers import inner_name

Layer = str | nn.Module | Sequence[str | nn.Module]


def layer_names(model: nn.Module, layer: Layer) -> tuple[str, ...]:
    """Return the dotted names of one or several layers.

    Parameters
    ----------
    model : torch.nn.Module
        The model that the layers belong to.
    layer : str, torch.nn.Module or sequence of these
        Layers by name, or as modules. A module that is registered under several names gets the first.

    Returns
    -------
    tuple of str
        One name per layer.

    Raises
    ------
    TypeError
        If a layer is neither a name nor a module.
    ValueError
        If there are no layers, if one is given twice, is not part of the model, or cannot be watched by
        hooks. For an unknown name, the message lists similar names.
    """
    several = isinstance(layer, Sequence) and not isinstance(layer, str)
    names = tuple(_layer_name(model, own) for own in (layer if several else [layer]))  # type: ignore[union-attr]
    if not names:
        raise ValueError("layer is empty; name at least one layer")
    if len(set(names)) < len(names):
        raise ValueError(f"a layer is named twice: {', '.join(names)}; name each once")
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
    raise ValueError(f"the given layer ({type(layer).__name__}) is not a submodule of the model")


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a submodule by its dotted name.

    Raises
    ------
    ValueError
        If there is none. The message lists similar names.
    """
    modules = {key: module for key, module in model.named_modules(remove_duplicate=False) if key}
    for spelling in (name, inner_name(name)):
        if spelling in modules:
            return modules[spelling]
    close = difflib.get_close_matches(name, modules, n=5, cutoff=0.4) or list(modules)[-5:]
    raise ValueError(f"the model has no layer {name!r}; did you mean {', '.join(close)}?")


def why_unwatched(model: nn.Module, layer: str = "") -> str | None:
    """Return the reason why hooks on a layer do not run, or None if there is no known reason.

    Without ``layer``, the answer is about the layers of the whole model.
    """
    names = dict(model.named_modules(remove_duplicate=False))
    parts = layer.split(".")
    around = [names.get(".".join(parts[:depth])) for depth in range(len(parts) + 1)]
    if any(isinstance(module, torch.jit.ScriptModule) for module in around):
        return (
            "TorchScript code runs without the hooks that read a layer; explain the Python model that was "
            "scripted (load its weights with load_state_dict(scripted.state_dict())), or use Occlusion"
        )
    # A program of torch.export calls at most one module, which checks the input.
    if isinstance(model, fx.GraphModule) and all(
        node.op != "call_module" or node.target == "_guards_fn" for node in model.graph.nodes
    ):
        return (
            "a program of torch.export has no layers that hooks could read; explain the model that was "
            "exported, or use Occlusion"
        )
    return None


class Captured:
    """The feature maps that a layer returned, ``[B, K, d, h, w]``."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self._features: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """Feature maps of the last forward pass; ``ValueError`` if the layer did not run in it."""
        if self._features is None:
            raise ValueError(
                f"layer {self.layer!r} did not run in the model's forward pass; choose a layer that runs"
            )
        return self._features

    def check(self, output: object) -> Tensor:
        """Return a layer's output without its graph; ``ValueError`` if it is not usable as feature maps."""
        if not isinstance(output, Tensor) or output.dim() != 5:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"layer {self.layer!r} must return feature maps [B,K,d,h,w], got {got}; choose another"
            )
        if self._features is not None:
            raise ValueError(
                f"layer {self.layer!r} runs more than once in a forward pass; choose a layer that runs once"
            )
        return output.detach()

    def keep(self, features: Tensor | None) -> None:
        """Keep checked feature maps; None forgets those of an earlier pass."""
        self._features = features


@contextmanager
def capture(model: nn.Module, layer: str, *, differentiable: bool = False) -> Iterator[Captured]:
    """Capture the output of a layer inside the context.

    Enter it under ``torch.no_grad()``. With ``differentiable=True`` autograd starts at the layer: its
    output is a leaf tensor, operations before it are not recorded, and operations after it are. A backward
    pass ends at the layer. The hook is removed when the context ends, also after an error.

    Parameters
    ----------
    model : torch.nn.Module
        The model that will run.
    layer : str
        Dotted name of a submodule that returns ``[B, K, d, h, w]`` and runs once per forward pass.
    differentiable : bool
        Whether gradients of the features are needed.

    Yields
    ------
    Captured
        Holds the feature maps after each forward pass.

    Raises
    ------
    ValueError
        If there is no such layer. The forward pass raises it if the output has another form.
    """
    captured = Captured(layer)
    grad_mode = torch.is_grad_enabled()

    def begin(module: nn.Module, args: object) -> None:
        # Forward repeats a pass that failed on channels-last maps.
        captured.keep(None)
        torch.set_grad_enabled(grad_mode)

    def hook(module: nn.Module, args: object, output: object) -> Tensor | None:
        # The model continues with a copy, so that a later in-place activation does not change the captured
        # features. The copy costs little compared with the layer itself.
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
