"""Sanity checks: whether heatmaps depend on the weights, agree with each other, and withstand noise."""

import copy
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.ops.arrays import plain_array, plain_tensor

Explain = Callable[[nn.Module], Tensor]


def rank_correlation(
    one: Tensor | np.ndarray,
    other: Tensor | np.ndarray,
    inside: np.ndarray | None = None,
    *,
    signed: bool = False,
) -> float:
    """Return Spearman's correlation of the absolute values of two heatmaps; NaN if one is constant.

    Parameters
    ----------
    one, other : Tensor or numpy.ndarray
        Heatmaps of the same shape.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    signed : bool
        Rank the signed values instead of the absolute ones.

    Returns
    -------
    float
        From -1 to 1; NaN if a heatmap is constant.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    from scipy.stats import rankdata

    first, second = (plain_array("heatmap", x) for x in (one, other))
    if not signed:
        first, second = np.abs(first), np.abs(second)
    if first.shape != second.shape:
        raise ValueError(f"heatmaps have shapes {first.shape} and {second.shape}")
    chosen = [x.ravel() if inside is None else x[inside] for x in (first, second)]
    ranks = [rankdata(x).astype(np.float64) for x in chosen]
    a, b = (r - r.mean() for r in ranks)
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def agreement(
    heatmaps: Mapping[str, Tensor | np.ndarray], inside: np.ndarray | None = None
) -> tuple[list[str], np.ndarray]:
    """Return the rank correlation of every pair of methods.

    Parameters
    ----------
    heatmaps : mapping
        Method name to heatmap. All heatmaps need the same shape.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.

    Returns
    -------
    names : list of str
        The methods, ``[M]``.
    correlations : numpy.ndarray
        float64 ``[M, M]``, symmetric, with ones on the diagonal.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    names = list(heatmaps)
    table = np.eye(len(names))
    for i, first in enumerate(names):
        for j in range(i):
            table[i, j] = table[j, i] = rank_correlation(heatmaps[first], heatmaps[names[j]], inside)
    return names, table


def randomised_weights(model: nn.Module, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Yield a copy of a network with one more layer randomised each time, starting at the output.

    The weights of a layer are permuted. This keeps their distribution and destroys what was learned. The
    cascade is that of Adebayo et al. (NeurIPS 2018), who drew new weights instead.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is not changed.
    seed : int
        Seed of the permutations.

    Yields
    ------
    tuple of (str, torch.nn.Module)
        Name of the layer that was randomised last, and the copy. It is the same object every time.
    """
    changed = copy.deepcopy(model)
    random = torch.Generator().manual_seed(seed)
    layers = [
        (name, module)
        for name, module in changed.named_modules()
        if any(p.numel() > 1 for p in module.parameters(recurse=False))
    ]
    for name, module in reversed(layers):
        with torch.no_grad():
            for parameter in module.parameters(recurse=False):
                order = torch.randperm(parameter.numel(), generator=random).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
        yield name, changed


def randomisation(
    model: nn.Module, explain: Explain, *, inside: np.ndarray | None = None, seed: int = 0
) -> list[tuple[str, float]]:
    """Compare a heatmap with those of the same network as its layers are randomised from the output down.

    If the correlation stays high, the map shows the scan and not what the network learned.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    explain : callable
        Takes a network and returns the heatmap ``[D, H, W]`` of one scan.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    seed : int
        Seed of the randomisation.

    Returns
    -------
    list of (str, float)
        For each layer its name, and the rank correlation once it and all later layers are randomised.
    """
    before = explain(model).detach().cpu().numpy()
    return [
        (name, rank_correlation(before, explain(changed), inside))
        for name, changed in randomised_weights(model, seed)
    ]


def stability(
    explain: Callable[[Tensor], Tensor],
    volume: Tensor | np.ndarray,
    *,
    level: float = 0.02,
    draws: int = 5,
    inside: np.ndarray | None = None,
    seed: int = 0,
) -> list[float]:
    """Compare a heatmap with those of the same scan with added noise.

    Parameters
    ----------
    explain : callable
        Takes a tensor of the shape of ``volume`` and returns a heatmap ``[D, H, W]``.
    volume : Tensor or numpy.ndarray
        The scan. ``explain`` receives it as a tensor; integers become float32.
    level : float
        Standard deviation of the Gaussian noise, as a share of the scan's largest absolute value. Voxels
        that are exactly 0, such as the background of a masked scan, stay 0.
    draws : int
        Number of noisy scans.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    seed : int
        Seed of the noise.

    Returns
    -------
    list of float
        For each draw, the rank correlation with the heatmap of the scan without noise.

    Raises
    ------
    ValueError
        If ``level`` is not positive, or ``draws`` is less than 1.
    """
    if not level > 0 or draws < 1:
        raise ValueError(f"level must be positive and draws at least 1, got {level} and {draws}")
    volume = plain_tensor("volume", volume)
    if not volume.is_floating_point():  # integers would round the noise
        volume = volume.float()
    before = explain(volume).detach().cpu().numpy()
    random = torch.Generator().manual_seed(seed)
    top = float(volume.abs().max()) * level
    found = []
    for _ in range(draws):
        noise = torch.randn(volume.shape, generator=random).to(volume) * top
        noisy = torch.where(volume == 0, volume, volume + noise)
        found.append(rank_correlation(before, explain(noisy), inside))
    return found
