"""Checks of the volumes that users pass to an explainer, made before any work starts."""

from typing import Any

import torch
from torch import Tensor, nn

from pyadx.inference.volumes import volume_tensor


def check_volume(volume: Any, model: nn.Module) -> Tensor:
    """Check a scan or a batch of scans, and return it as ``[B, C, D, H, W]``.

    Parameters
    ----------
    volume : Tensor or numpy.ndarray
        ``[B, C, D, H, W]``, or one scan ``[C, D, H, W]``; finite. Floating-point tensors must have the
        device and dtype of the model's weights. Arrays and integer tensors are converted.
    model : torch.nn.Module
        The model that the volume is for.

    Returns
    -------
    Tensor
        ``[B, C, D, H, W]``, usable in a backward pass.

    Raises
    ------
    TypeError, ValueError
        If the volume has the wrong type, shape, device or dtype, is empty, or is not finite.
    """
    volume = volume_tensor(volume, model)
    shape = tuple(volume.shape)
    if volume.dim() == 4:
        volume = volume[None]
    if volume.dim() != 5:
        raise ValueError(f"volume must have shape [B,C,D,H,W] or [C,D,H,W], got {shape}")
    if volume.numel() == 0:
        raise ValueError(f"volume is empty: shape {shape}")
    weight = next(model.parameters(), None)
    if weight is not None and weight.device != volume.device:
        raise ValueError(f"volume is on {volume.device}, the model on {weight.device}; move one of them")
    autocast = torch.is_autocast_enabled(volume.device.type)
    if weight is not None and weight.dtype != volume.dtype and not autocast:
        raise TypeError(
            f"volume is {volume.dtype}, the model's weights are {weight.dtype}; convert one of them"
        )
    if not torch.isfinite(volume).all():
        raise ValueError("volume holds NaN or infinity; replace these values first")
    # Tensors made in inference mode cannot take part in a backward pass.
    return volume.clone() if volume.is_inference() else volume
