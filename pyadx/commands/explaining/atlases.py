"""Atlases and masks in the scan's space, on the network's grid."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.reporting.regions import names_of, tell_names
from pyadx.data.atlas_keys import find_key, read_groups
from pyadx.data.flatness import refuse_flat
from pyadx.data.grids import FittedScan, fit_to_card, on_grid
from pyadx.data.regions import labels_on_scan, read_labels, read_mask
from pyadx.models.card import ModelCard


def atlas_arguments(
    path: Path, key: Path | None, fitted: FittedScan, columns: Sequence[str] = ()
) -> dict[str, Any]:
    """Return ``regions`` and ``names`` of an atlas, resampled to the grid by nearest neighbour.

    If ``columns`` of the key are given, also return ``groups``, the outermost first.

    Raises
    ------
    ValueError
        If the atlas cannot be read, does not overlap the scan, or has a region without a voxel on the
        grid.
    """
    atlas = read_labels(path)
    refuse_flat(atlas.path, atlas.data, "label volume")
    names, source = names_of(atlas, key)
    numbers = np.unique(atlas.data[atlas.data > 0]).astype(np.int64)
    tell_names(numbers, names, source)
    labels = labels_on_scan(atlas, on_grid(fitted))
    lost = sorted(set(numbers.tolist()) - set(np.unique(labels).tolist()))
    if lost:
        raise ValueError(
            f"{path}: region {names.get(lost[0], lost[0])} has no voxel on the network's grid, as have "
            f"{len(lost) - 1} others; merge small regions, or take a coarser atlas"
        )
    called = {n: names.get(n, str(n)) for n in numbers.tolist()}
    if not columns:
        return {"regions": labels, "names": called}
    table = key or find_key(atlas.path)
    if table is None:
        raise ValueError("--groups names columns of the atlas' key: give the key with --key")
    groups = read_groups(table, columns)
    own = {n: path for n, path in groups.items() if path and n in called}
    return {"regions": labels, "names": called, "groups": own}


def mask_on_grid(path: Path, fitted: FittedScan, card: ModelCard) -> np.ndarray:
    """Resample a mask from the scan's voxels to the network's grid, bool ``[D, H, W]``.

    Raises
    ------
    ValueError
        If the mask is not on the scan's voxels, or holds no voxel of the grid.
    """
    own = replace(fitted.scan, data=read_mask(path, fitted.scan).astype(np.float32))
    inside = fit_to_card(own, card).data > 0.5
    if not inside.any():
        raise ValueError(f"{path}: has no voxel on the network's grid")
    return inside
