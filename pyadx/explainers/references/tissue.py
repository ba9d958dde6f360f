"""Reference volumes that are computed from the scan itself, or matched to it."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyadx.inference.background import background_of, brain_mask

VOXELS = 4.0  # standard deviation where the voxel size is not known: 8 mm at 2 mm voxels
_LEAST_OVERLAP = 0.5  # smallest share of the scan's brain that a reference must cover
_LEAST_CORRELATION = 0.3  # with the scan inside the brain; less suggests another contrast


def brain_of(volume: Tensor) -> Tensor:
    """Return which voxels differ from the background in at least one channel, bool ``[D, H, W]``.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.

    Raises
    ------
    ValueError
        If there is no such voxel.
    """
    brain = brain_mask(volume)
    if not brain.any():
        raise ValueError("the scan is 0 everywhere: there is no brain to compute a reference from")
    return brain


def local_mean(volume: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Return the Gaussian-weighted mean around each voxel, over brain voxels alone.

    Weights are normalised over the brain voxels, so the edge of the brain does not darken. Background stays
    unchanged.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.
    sigma : float or sequence of float
        Standard deviation in voxels, for all axes or one per axis.

    Returns
    -------
    Tensor
        Of the volume's shape, dtype and device.

    Raises
    ------
    ValueError
        If the scan has no brain voxel.
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
    """Return a volume with each channel's mean inside the brain, and its background value outside.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``.

    Raises
    ------
    ValueError
        If the scan has no brain voxel.
    """
    brain = brain_of(volume)
    means = volume[:, brain].double().mean(1).to(volume.dtype)
    return torch.where(brain, means[:, None, None, None], background_of(volume))


def matched(reference: Tensor, volume: Tensor, name: str) -> Tensor:
    """Scale the image of another brain to the intensity of a scan, channel by channel.

    Each channel is multiplied by a factor, so that both have the same mean over the voxels where both have
    brain. A channel that has values below 0 in either image counts as standardised and stays unchanged.
    Warns if the images hardly correlate inside the brain.

    Parameters
    ----------
    reference : Tensor
        ``[C, D, H, W]`` on the scan's voxel grid; ``[D, H, W]`` will do for one channel.
    volume : Tensor
        The scan ``[C, D, H, W]``.
    name : str
        What messages call the reference.

    Returns
    -------
    Tensor
        ``[C, D, H, W]``.

    Raises
    ------
    ValueError
        If shapes differ, the reference holds NaN or infinity, a channel of it is 0 in the whole brain, or
        it covers less than half of the scan's brain.
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
            f"{name} covers {overlap:.0%} of the scan's brain, expected at least {_LEAST_OVERLAP:.0%}; "
            "bring both into one space first (register the scan to the network's template)"
        )
    pairs = zip(volume, other, strict=True)
    names = [name] if len(volume) == 1 else [f"channel {n} of {name}" for n in range(len(volume))]
    return torch.stack([_matched(*pair, both, own) for pair, own in zip(pairs, names, strict=True)])


def _matched(volume: Tensor, other: Tensor, both: Tensor, name: str) -> Tensor:
    """Scale one channel ``[D, H, W]`` to the intensity of the same channel of the scan."""
    mine, own = volume[both].double(), other[both].double()
    if not own.any():
        raise ValueError(f"{name} is 0 everywhere in the scan's brain")
    if float(mine.std(correction=0)) > 0 and float(own.std(correction=0)) > 0:
        correlation = float(torch.corrcoef(torch.stack([mine, own]))[0, 1])
        if correlation < _LEAST_CORRELATION:
            warnings.warn(
                f"{name} correlates with the scan by {correlation:.2f} inside the brain (expected at least "
                f"{_LEAST_CORRELATION:g}): does it have another contrast, or is it in another space?",
                stacklevel=5,
            )
    if float(volume.min()) < 0 or float(other.min()) < 0:
        return other
    return other * (mine.mean() / own.mean()).to(other.dtype)
