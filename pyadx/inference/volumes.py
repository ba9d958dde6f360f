"""Convert a scan as the user passes it into a tensor that the model accepts."""

from typing import Any

import torch
from torch import Tensor, nn

from pyadx.ops.arrays import plain_tensor


def volume_tensor(volume: Any, model: nn.Module) -> Tensor:
    """Return a scan as a plain floating-point tensor. Its shape is not checked.

    Parameters
    ----------
    volume : Tensor or numpy.ndarray
        A floating-point tensor of any subclass keeps its values, dtype and device. An integer tensor is
        converted to the dtype of the model's weights, an array to their dtype and device.
    model : torch.nn.Module
        The model that the volume is for.

    Returns
    -------
    Tensor
        The scan, without a graph.

    Raises
    ------
    TypeError
        If the volume is neither an array nor a tensor, is sparse, or holds no real numbers; or if
        ``model`` is not a module.
    ValueError
        If a finite value is too large for the model's dtype.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    tensor = plain_tensor("volume", volume)
    if tensor.dtype == torch.bool:
        raise TypeError("volume must be a scan of real numbers, got a mask of booleans")
    if isinstance(volume, Tensor) and tensor.is_floating_point():
        return tensor
    dtype, device = _weights_dtype_and_device(model)
    fitted = tensor.to(device=tensor.device if isinstance(volume, Tensor) else device, dtype=dtype)
    if not torch.isfinite(fitted).all():
        given = tensor.double()
        if torch.isfinite(given).all():
            top = float(given.abs().max())
            raise ValueError(f"volume holds values up to {top:g}, too large for the model's {dtype}")
    return fitted


def _weights_dtype_and_device(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Return the dtype and device of a model's first floating-point weight."""
    tensors = [*model.parameters(), *model.buffers()]
    for tensor in tensors:
        if tensor.is_floating_point():
            return tensor.dtype, tensor.device
    return torch.get_default_dtype(), tensors[0].device if tensors else torch.device("cpu")
