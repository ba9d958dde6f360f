"""From what users hand over as a scan to the tensor that a model takes."""

from typing import Any

import torch
from torch import Tensor, nn

from pyadx.ops.arrays import plain_tensor


def volume_tensor(volume: Any, model: nn.Module) -> Tensor:
    """Return a scan as a plain floating-point tensor; its shape is not looked at.

    Parameters
    ----------
    volume : Tensor or numpy.ndarray
        Floating-point tensors stay as they are, whatever their subclass. Whole numbers take the dtype of
        the model's weights, and arrays their device, too.
    model : torch.nn.Module
        The model that the volume is for.

    Raises
    ------
    TypeError
        If it is neither an array nor a tensor, or holds no real numbers.
    ValueError
        If finite values do not fit into the model's dtype.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    tensor = plain_tensor("volume", volume)
    if tensor.dtype == torch.bool:
        raise TypeError("volume must be a scan of real numbers, got a mask of booleans")
    if isinstance(volume, Tensor) and tensor.is_floating_point():
        return tensor
    dtype, device = _home(model)
    fitted = tensor.to(device=tensor.device if isinstance(volume, Tensor) else device, dtype=dtype)
    if not torch.isfinite(fitted).all():
        given = tensor.double()
        if torch.isfinite(given).all():
            top = float(given.abs().max())
            raise ValueError(f"volume holds values up to {top:g}, too large for the model's {dtype}")
    return fitted


def _home(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Return the dtype and device of a model's weights."""
    tensors = [*model.parameters(), *model.buffers()]
    for tensor in tensors:
        if tensor.is_floating_point():
            return tensor.dtype, tensor.device
    return torch.get_default_dtype(), tensors[0].device if tensors else torch.device("cpu")
