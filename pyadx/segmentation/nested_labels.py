"""Hierarchies from existing label volumes, such as those of FreeSurfer, an atlas or SLIC."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyadx.segmentation.checks import as_volume
from pyadx.segmentation.hierarchy import Hierarchy
from pyadx.segmentation.tree import make_hierarchy


def from_labels(volumes: Sequence[Any]) -> Hierarchy:
    """Make a hierarchy from nested label volumes, for use in place of one from `pyadx.segmentation.ucm`.

    Parameters
    ----------
    volumes : sequence of array or Tensor
        Whole numbers ``[D, H, W]``, in any order of the volumes. 0 means outside, and all volumes must have
        the same voxels outside. Each region of a finer volume must be inside one region of each coarser
        one. The same label number may mean different regions in different volumes. One volume alone makes
        a hierarchy of one level.

    Returns
    -------
    Hierarchy
        Levels are finest first; volumes with the same number of regions share a level. With the volumes
        sorted from fine to coarse and numbered from 0, the merges that make volume i have altitude i. The
        merges into one single region have the number of volumes as altitude.

    Raises
    ------
    TypeError, ValueError
        If a volume does not hold whole numbers from 0, shapes differ, a volume has no label above 0, the
        voxels outside differ, or volumes are not nested. The last message names the labels.
    """
    if len(volumes) == 0:
        raise ValueError("from_labels needs at least one label volume, got none")
    named = [_labels(volume, index) for index, volume in enumerate(volumes)]
    shapes = {labels.shape for _, labels in named}
    if len(shapes) > 1:
        raise ValueError(f"label volumes have different shapes: {sorted(shapes)}")
    numbered = []
    for name, labels in named:
        values, indices = np.unique(labels[labels > 0], return_inverse=True)
        if len(values) == 0:
            raise ValueError(f"{name} labels no voxel: all its voxels are 0")
        numbered.append((name, values, indices.reshape(-1), labels > 0))
    numbered.sort(key=lambda entry: -len(entry[1]))
    finest_name, finest_values, finest, inside = numbered[0]
    count = len(finest_values)
    sizes = np.bincount(finest, minlength=count).astype(np.int64)

    merges: list[tuple[int, int]] = []
    altitudes: list[float] = []
    node = np.arange(count)  # of the tree that each of the finest regions is part of so far
    for altitude, (name, values, indices, own_inside) in enumerate(numbered[1:], start=1):
        if not np.array_equal(own_inside, inside):
            raise ValueError(
                f"{name} and {finest_name} have different voxels outside: both must be 0 at the same voxels"
            )
        of_region = _parents(finest, indices, count, (finest_name, finest_values), (name, values))
        _merge_groups(node, of_region, float(altitude), merges, altitudes)
    _merge_groups(node, np.zeros(count, np.int64), float(len(numbered)), merges, altitudes)
    regions = np.full(inside.shape, -1, np.int32)
    regions[inside] = finest
    levels = np.unique([len(entry[1]) for entry in numbered])[::-1]
    pairs = np.array(merges, np.int32).reshape(-1, 2)
    return make_hierarchy(regions, pairs, np.array(altitudes, np.float64), sizes, levels)


def _labels(volume: Any, index: int) -> tuple[str, np.ndarray]:
    name = f"label volume {index}"
    labels = as_volume(volume, name)
    if labels.dtype.kind == "f":
        whole = labels.astype(np.int64)
        if not np.array_equal(whole, labels):
            raise ValueError(f"{name} must hold whole numbers")
        labels = whole
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"{name} holds negative labels ({labels.min()}); 0 is outside, regions start at 1")
    return name, labels


def _parents(
    finest: np.ndarray,
    coarse: np.ndarray,
    count: int,
    finest_labels: tuple[str, np.ndarray],
    coarse_labels: tuple[str, np.ndarray],
) -> np.ndarray:
    """Return the coarse region that contains each of the finest regions."""
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(low, finest, coarse)
    np.maximum.at(high, finest, coarse)
    if not np.array_equal(low, high):
        bad = int(np.flatnonzero(low != high)[0])
        (name, values), (coarse_name, coarse_values) = finest_labels, coarse_labels
        raise ValueError(
            f"label volumes are not nested: label {values[bad]} of {name} has voxels in labels "
            f"{coarse_values[low[bad]]} and {coarse_values[high[bad]]} of {coarse_name}"
        )
    return low


def _merge_groups(
    node: np.ndarray,
    group: np.ndarray,
    altitude: float,
    merges: list[tuple[int, int]],
    altitudes: list[float],
) -> None:
    """Append the merges that join all nodes of each group, and update ``node`` in place."""
    count = len(node)
    root: dict[int, int] = {}
    for own, member in sorted(set(zip(group.tolist(), node.tolist(), strict=True))):
        if own in root:
            merges.append((root[own], member))
            altitudes.append(altitude)
            root[own] = count + len(merges) - 1
        else:
            root[own] = member
    node[:] = [root[own] for own in group.tolist()]
