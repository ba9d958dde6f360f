"""Looking through what is wrapped around a model for training and compiling."""

import sys
import warnings

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

# What the wrappers put in front of the names of the model's layers.
_PREFIXES = ("module.", "_orig_mod.")


def _inside(model: nn.Module) -> nn.Module | None:
    if isinstance(model, DataParallel | DistributedDataParallel):
        return model.module
    # Whoever compiled a model has loaded this; loading it takes a second.
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is not None and isinstance(model, dynamo.OptimizedModule):
        return model._modules["_orig_mod"]
    return None


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``.

    It holds the same parameters and gives the same class scores. One scan at a time has nothing to gain
    from the former two; hooks do not run in compiled code.
    """
    inside = _inside(model)
    while inside is not None:
        if model._forward_hooks or model._forward_pre_hooks:
            warnings.warn(
                f"hooks on the {type(model).__name__} around the model are not run",
                UserWarning,
                stacklevel=3,
            )
        model, inside = inside, _inside(inside)
    return model


def described(model: nn.Module, attribute: str) -> nn.Module:
    """Return the outermost of a model and what it wraps that has an attribute, else the innermost."""
    inside = _inside(model)
    while inside is not None and attribute not in vars(model) and not hasattr(type(model), attribute):
        model, inside = inside, _inside(inside)
    return model


def inner_name(layer: str) -> str:
    """Return a layer's name without what wrappers put in front of it."""
    for prefix in _PREFIXES:
        if layer.startswith(prefix):
            return inner_name(layer.removeprefix(prefix))
    return layer
