"""A scan file as the reference image of a network."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyadx.data.grids import FittedScan, fit_to_card, resampled_onto
from pyadx.data.inputs import prepared_volume, voxel_hash
from pyadx.data.intensity import scale_intensity
from pyadx.data.scans import read_scan
from pyadx.models.card import ModelCard
from pyadx.models.training_scans import seen_in_training

_LEAST_OVERLAP = 0.5  # share of the voxels that are not 0


def read_reference(path: str | os.PathLike[str], card: ModelCard) -> Tensor:
    """Read a scan, such as the mean of healthy people, as the reference image of a network.

    Parameters
    ----------
    path : path
        File for `pyadx.data.read_scan`, in the space of the network's scans. It is centred on the
        network's grid and prepared like these scans.
    card : ModelCard
        Grid, voxel size, intensity scaling, and the record of training scans.

    Returns
    -------
    torch.Tensor
        float32 ``[D, H, W]``, for `pyadx.models.with_references`.

    Raises
    ------
    ValueError
        If the file is not a usable scan (`pyadx.data.read_scan`; NaN, only zeros), less than half of its
        voxels that are not 0 are on the grid, or its intensities cannot be scaled. Also if the network was
        trained on this scan, because a user of the checkpoint could recover the scan.
    """
    scan = read_scan(Path(path))
    shape, spacing = card.in_shape, card.preprocessing.spacing
    filled = replace(scan, data=(scan.data != 0).astype(np.float32))
    overlap = fit_to_card(filled, card).kept
    if overlap < _LEAST_OVERLAP:
        size = "" if spacing is None else f" of {spacing:g} mm"
        raise ValueError(
            f"{scan.path}: only {overlap:.0%} of its voxels that are not 0 lie on the network's grid of "
            f"{'x'.join(map(str, shape))} voxels{size}, at least {_LEAST_OVERLAP:.0%} must; give an image "
            "in the space of the network's scans"
        )
    if seen_in_training(card, voxel_hash(scan)).image:
        raise ValueError(
            f"{scan.path}: the network was trained on this scan, and the checkpoint would reveal it; "
            "give a mean of several people"
        )
    return prepared_volume(fit_to_card(scan, card), card)[0, 0]


def reference_on_scan(path: str | os.PathLike[str], fitted: FittedScan, card: ModelCard) -> Tensor:
    """Read another brain's image, such as a matched control, and resample it to a fitted scan's voxels.

    Both must be in one space: the image is interpolated linearly at world coordinates. A file that has the
    network's grid but another position is used voxel by voxel, with a warning.

    Parameters
    ----------
    path : path
        File for `pyadx.data.read_scan`.
    fitted : FittedScan
        The scan on the network's grid.
    card : ModelCard
        Intensity scaling. Explainers later match the intensities to the scan's.

    Returns
    -------
    torch.Tensor
        float32 ``[D, H, W]``.

    Raises
    ------
    ValueError
        If it is not a usable scan, or covers less than half of the scan's voxels that are not 0.
    """
    other = read_scan(Path(path))
    same = other.data.shape == fitted.data.shape
    data = resampled_onto(other, fitted.affine, fitted.data.shape)
    brain = fitted.data != 0
    overlap = float((data[brain] != 0).mean()) if brain.any() else 0.0
    if overlap < _LEAST_OVERLAP and same:
        warnings.warn(
            f"{other.path.name} has the network's grid but covers only {overlap:.0%} of the scan by its "
            "header; it is used voxel by voxel",
            stacklevel=2,
        )
        data = other.data
        overlap = float((data[brain] != 0).mean()) if brain.any() else 0.0
    if overlap < _LEAST_OVERLAP:
        raise ValueError(
            f"{other.path}: covers {overlap:.0%} of the scan's voxels that are not 0, at least "
            f"{_LEAST_OVERLAP:.0%} is needed; bring both into one space first"
        )
    try:
        return torch.from_numpy(scale_intensity(data, card.preprocessing))
    except ValueError as error:
        raise ValueError(f"{other.path}: {error}") from None
