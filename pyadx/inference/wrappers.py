"""Look through wrappers around a model, such as those for parallel training and compiling."""

import sys
import warnings

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

# Prefixes that the wrappers add to the names of the model's layers.
_PREFIXES = ("module.", "_orig_mod.")


def _inside(model: nn.Module) -> nn.Module | None:
    if isinstance(model, DataParallel | DistributedDataParallel):
        return model.module
    # Loading this takes a second. If it is not loaded, no model has been compiled.
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is not None and isinstance(model, dynamo.OptimizedModule):
        return model._modules["_orig_mod"]
    return None


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``.

    It holds the same parameters and gives the same class scores. Data parallelism does not speed up single
    scans, and hooks do not run in compiled code. A wrapper's own hooks are not run; a warning says so.
    """
    inside = _inside(model)
    while inside is not None:
        if model._forward_hooks or model._forward_pre_hooks:
            warnings.warn(
                f"hooks on the {type(model).__name__} around the model are not run; "
                "register them on the model inside",
                UserWarning,
                stacklevel=3,
            )
        model, inside = inside, _inside(inside)
    return model


def described(model: nn.Module, attribute: str) -> nn.Module:
    """Return the outermost module with an attribute, of a model and what it wraps; else the innermost."""
    inside = _inside(model)
    while inside is not None and attribute not in vars(model) and not hasattr(type(model), attribute):
        model, inside = inside, _inside(inside)
    return model


def inner_name(layer: str) -> str:
    """Return a layer's name without the prefixes of wrappers."""
    for prefix in _PREFIXES:
        if layer.startswith(prefix):
            return inner_name(layer.removeprefix(prefix))
    return layer
