"""Checks of what users hand to an explainer, before any work starts."""

import torch
from torch import Tensor, nn


def check_volume(volume: object, model: nn.Module) -> Tensor:
    """Bring a scan or a batch of scans into ``[B, C, D, H, W]``.

    Parameters
    ----------
    volume : Tensor
        ``[B, C, D, H, W]``, or one scan ``[C, D, H, W]``; floating point, finite, on the device and
        of the dtype of the model's weights.
    model : torch.nn.Module
        The model that the volume is for.

    Raises
    ------
    TypeError, ValueError
        If the volume does not fit; the message says what was given and how to mend it.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(volume, Tensor):
        raise TypeError(f"volume must be a tensor [B,1,D,H,W] or [1,D,H,W], got {type(volume).__name__}")
    shape = tuple(volume.shape)
    if not volume.is_floating_point():
        raise TypeError(f"volume must be floating point, got {volume.dtype}; use volume.float()")
    if volume.dim() == 4:
        volume = volume[None]
    if volume.dim() != 5:
        raise ValueError(f"volume must have shape [B,1,D,H,W] or [1,D,H,W], got {shape}")
    if volume.numel() == 0:
        raise ValueError(f"volume is empty: shape {shape}")
    weight = next(model.parameters(), None)
    if weight is not None and weight.device != volume.device:
        raise ValueError(f"volume is on {volume.device}, the model on {weight.device}; move one of them")
    autocast = torch.is_autocast_enabled(volume.device.type)
    if weight is not None and weight.dtype != volume.dtype and not autocast:
        raise TypeError(f"volume is {volume.dtype}, the model's weights are {weight.dtype}")
    if not torch.isfinite(volume).all():
        raise ValueError("volume holds NaN or infinity")
    volume = volume.detach()
    # Tensors made in inference mode cannot take part in a backward pass.
    return volume.clone() if volume.is_inference() else volume
