"""Sanity of explanations: whether they follow the weights, agree with each other and survive noise."""

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
        Of one shape.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    signed : bool
        Rank the values with their signs.
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
    """Return the rank correlation of every two methods.

    Parameters
    ----------
    heatmaps : mapping
        Method to heatmap, all of one shape.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.

    Returns
    -------
    names : list of str
        The methods.
    correlations : numpy.ndarray
        ``[M, M]``, symmetric, ones on the diagonal.
    """
    names = list(heatmaps)
    table = np.eye(len(names))
    for i, first in enumerate(names):
        for j in range(i):
            table[i, j] = table[j, i] = rank_correlation(heatmaps[first], heatmaps[names[j]], inside)
    return names, table


def randomised_weights(model: nn.Module, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Yield a copy of a network with ever more layers randomised, from the output down.

    Each layer's weights are permuted, so that their distribution stays and what was learned goes
    (Adebayo et al., NeurIPS 2018, who drew them anew).

    Parameters
    ----------
    model : torch.nn.Module
        Stays as it is.
    seed : int
        Of the permutations.

    Yields
    ------
    tuple
        Name of the layer that was randomised last, and the copy; the same object every time.
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
    """Compare a heatmap with those of networks whose layers are randomised from the output down.

    A map that keeps its correlation shows the scan and not what was learned.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    explain : callable
        From a network to the heatmap ``[D, H, W]`` of one scan.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    seed : int
        Of the randomisation.

    Returns
    -------
    list of tuple
        Layer, and the rank correlation after it and all above were randomised.
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
    """Compare a heatmap with those of the same scan under noise.

    Parameters
    ----------
    explain : callable
        From a volume, of the shape given, to a heatmap ``[D, H, W]``.
    volume : Tensor or numpy.ndarray
        The scan; ``explain`` is given a tensor of it, in float32 if it holds whole numbers.
    level : float
        Standard deviation of Gaussian noise over the largest absolute value of the scan. Voxels of exactly
        0, the background of a masked scan, stay 0.
    draws : int
        How many.
    inside : numpy.ndarray, optional
        bool mask of the voxels that count.
    seed : int
        Of the noise.

    Returns
    -------
    list of float
        Rank correlation of each draw with the heatmap without noise.
    """
    if not level > 0 or draws < 1:
        raise ValueError(f"level must be positive and draws at least 1, got {level} and {draws}")
    volume = plain_tensor("volume", volume)
    if not volume.is_floating_point():  # noise would be cut off to whole numbers
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
