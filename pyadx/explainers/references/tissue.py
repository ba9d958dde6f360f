"""Reference volumes that are made from the scan itself, or matched to it."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

VOXELS = 4.0  # of smoothing where the voxel size is not known: 8 mm at 2 mm
_LEAST_OVERLAP = 0.5  # of the scan's brain
_LEAST_CORRELATION = 0.3  # with the scan inside the brain; below it the contrast may be another one


def background_of(volume: Tensor) -> Tensor:
    """Return the value of each channel's background, ``[C, 1, 1, 1]``.

    Intensities that a fixed mean was subtracted from have a background other than 0: the value that all
    eight corners of a channel share. Where they differ, or nothing else is in the channel, it is 0.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    """
    corners = volume[:, :: max(volume.shape[1] - 1, 1)][:, :, :: max(volume.shape[2] - 1, 1)]
    corners = corners[..., :: max(volume.shape[3] - 1, 1)].flatten(1)
    same = (corners == corners[:, :1]).all(1) & (volume.flatten(1) != corners[:, :1]).any(1)
    return torch.where(same, corners[:, 0], torch.zeros_like(corners[:, 0]))[:, None, None, None]


def brain_of(volume: Tensor) -> Tensor:
    """Return which voxels are no background, bool ``[D, H, W]``: those that differ from it in any channel.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.

    Raises
    ------
    ValueError
        If there is none.
    """
    brain = (volume != background_of(volume)).any(0)
    if not brain.any():
        raise ValueError("the scan is 0 everywhere: there is nothing to make a reference of")
    return brain


def local_mean(volume: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Return the mean of each voxel's Gaussian neighbourhood, over voxels of the brain alone.

    Dividing by the share of the neighbourhood that is brain keeps the brain's edge from darkening.
    Background stays as it is.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    sigma : float or sequence of float
        Standard deviation, voxels.

    Returns
    -------
    Tensor
        Of the volume's shape, dtype and device.
    """
    from scipy import ndimage

    brain = brain_of(volume).cpu().numpy()
    share = ndimage.gaussian_filter(brain.astype(np.float64), sigma, mode="constant")
    out = []
    background = background_of(volume).detach().cpu().double().numpy()
    for channel, outside in zip(volume.detach().cpu().double().numpy(), background, strict=True):
        summed = ndimage.gaussian_filter(np.where(brain, channel, 0.0), sigma, mode="constant")
        empty = np.broadcast_to(outside, summed.shape).copy()
        out.append(np.divide(summed, share, out=empty, where=brain))
    return torch.from_numpy(np.stack(out)).to(volume)


def brain_mean(volume: Tensor) -> Tensor:
    """Return a volume that holds each channel's mean over the brain, and the background's outside."""
    brain = brain_of(volume)
    means = volume[:, brain].double().mean(1).to(volume.dtype)
    return torch.where(brain, means[:, None, None, None], background_of(volume))


def matched(reference: Tensor, volume: Tensor, name: str) -> Tensor:
    """Bring another brain's image to the intensity of a scan, channel by channel.

    Where neither holds values below 0, a channel is multiplied so that both have the same mean over the
    voxels where both have brain. Values below 0 mean that both were standardised, and nothing is left to
    match.

    Parameters
    ----------
    reference : Tensor
        ``[C, D, H, W]`` on the scan's voxels, of one channel also ``[D, H, W]``.
    volume : Tensor
        The scan ``[C, D, H, W]``.
    name : str
        For errors.

    Returns
    -------
    Tensor
        ``[C, D, H, W]``.

    Raises
    ------
    ValueError
        If shapes differ, the reference holds NaN, a channel of it only 0, or it covers less than half of
        the brain.
    """
    other = reference.detach().to(volume)
    other = other[None] if other.dim() == 3 else other
    if other.shape != volume.shape:
        channels = "; it needs a channel for each of the scan's" if volume.shape[0] > 1 else ""
        raise ValueError(
            f"{name} has shape {tuple(reference.shape)}, the scan {tuple(volume.shape)}{channels}"
        )
    if not torch.isfinite(other).all():
        raise ValueError(f"{name} holds NaN or infinity")
    if not (other != 0).any():
        raise ValueError(f"{name} is 0 everywhere; fill=0 does the same")
    brain, theirs = brain_of(volume), brain_of(other)
    both = brain & theirs
    overlap = float(both.sum() / brain.sum())
    if overlap < _LEAST_OVERLAP:
        raise ValueError(
            f"{name} covers {overlap:.0%} of the scan's brain, at least {_LEAST_OVERLAP:.0%} is needed: "
            "bring both into one space first (register the scan to the network's template)"
        )
    pairs = zip(volume, other, strict=True)
    names = [name] if len(volume) == 1 else [f"channel {n} of {name}" for n in range(len(volume))]
    return torch.stack([_matched(*pair, both, own) for pair, own in zip(pairs, names, strict=True)])


def _matched(volume: Tensor, other: Tensor, both: Tensor, name: str) -> Tensor:
    """Bring one channel ``[D, H, W]`` to the intensity of the scan's."""
    mine, own = volume[both].double(), other[both].double()
    if not own.any():
        raise ValueError(f"{name} is 0 everywhere in the scan's brain")
    if float(mine.std(correction=0)) > 0 and float(own.std(correction=0)) > 0:
        correlation = float(torch.corrcoef(torch.stack([mine, own]))[0, 1])
        if correlation < _LEAST_CORRELATION:
            warnings.warn(
                f"{name} correlates with the scan by {correlation:.2f} inside the brain (expected at least "
                f"{_LEAST_CORRELATION:g}): is it of another contrast, or not in the same space?",
                stacklevel=5,
            )
    if float(volume.min()) < 0 or float(other.min()) < 0:
        return other
    return other * (mine.mean() / own.mean()).to(other.dtype)
