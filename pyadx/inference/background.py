"""What is background in a scan."""

import torch
from torch import Tensor


def brain_mask(volume: Tensor) -> Tensor:
    """Return which voxels of ``[C, D, H, W]`` are not background in all channels, bool ``[D, H, W]``."""
    return (volume != background_of(volume)).any(0)


def background_of(volume: Tensor) -> Tensor:
    """Return the background value of each channel, ``[C, 1, 1, 1]``.

    It is the value that all eight corners of a channel share: standardised scans have a background other
    than 0. If the corners differ, or the channel is constant, it is 0.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    """
    corners = volume[:, :: max(volume.shape[1] - 1, 1)][:, :, :: max(volume.shape[2] - 1, 1)]
    corners = corners[..., :: max(volume.shape[3] - 1, 1)].flatten(1)
    same = (corners == corners[:, :1]).all(1) & (volume.flatten(1) != corners[:, :1]).any(1)
    return torch.where(same, corners[:, 0], torch.zeros_like(corners[:, 0]))[:, None, None, None]
