"""A scan file as the reference image of a network."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from pyadx.data.grids import fit_to_grid
from pyadx.data.inputs import prepared_volume, voxel_hash
from pyadx.data.scans import read_scan
from pyadx.models.card import ModelCard
from pyadx.models.training_scans import seen_in_training

_LEAST_OVERLAP = 0.5  # of the voxels that are not 0


def read_reference(path: str | os.PathLike[str], card: ModelCard) -> Tensor:
    """Read a scan, such as the mean of healthy people, as the reference image of a network.

    Parameters
    ----------
    path : path
        What `pyadx.data.read_scan` reads, in the space of the network's scans: its centre comes to lie on
        the centre of the network's grid, as theirs do, and it is prepared as they are.
    card : ModelCard
        Grid, voxel size, intensity scaling, and the record of training scans.

    Returns
    -------
    torch.Tensor
        float32 ``[D, H, W]``, for `pyadx.models.with_references`.

    Raises
    ------
    ValueError
        If the file is no usable scan (`pyadx.data.read_scan`; NaN, only zeros), less than half of its
        voxels that are not 0 lie on the grid, its intensities cannot be scaled, or the network was trained
        on it: whoever has the checkpoint could read the scan back.
    """
    scan = read_scan(Path(path))
    shape, spacing = card.in_shape, card.preprocessing.spacing
    filled = replace(scan, data=(scan.data != 0).astype(np.float32))
    overlap = fit_to_grid(filled, shape, spacing).kept
    if overlap < _LEAST_OVERLAP:
        size = "" if spacing is None else f" of {spacing:g} mm"
        raise ValueError(
            f"{scan.path}: only {overlap:.0%} of its voxels that are not 0 lie on the network's grid of "
            f"{'x'.join(map(str, shape))} voxels{size}, at least {_LEAST_OVERLAP:.0%} must; give one in "
            "the space of the network's scans"
        )
    if seen_in_training(card, voxel_hash(scan)).image:
        raise ValueError(
            f"{scan.path}: the network was trained on this scan, which could be read back from the "
            "checkpoint; give a mean of several people"
        )
    return prepared_volume(fit_to_grid(scan, shape, spacing), card)[0, 0]
