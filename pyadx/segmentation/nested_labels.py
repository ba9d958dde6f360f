"""Hierarchies from label volumes that exist already: FreeSurfer, an atlas, SLIC."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyadx.segmentation.checks import as_volume
from pyadx.segmentation.hierarchy import Hierarchy
from pyadx.segmentation.tree import make_hierarchy


def from_labels(volumes: Sequence[Any]) -> Hierarchy:
    """Make a hierarchy of nested label volumes, so that they can be explained like any other.

    Parameters
    ----------
    volumes : sequence of array or Tensor
        Integers ``[D, H, W]``, in any order; 0 is outside, and the same voxels must be outside in all of
        them. Every region of a finer volume must lie within one region of the coarser ones. Label numbers
        have no meaning beyond a volume. A single volume is a hierarchy of one level.

    Returns
    -------
    Hierarchy
        A level for every volume with a different number of regions, finest first; altitudes count the
        volumes, from 1.

    Raises
    ------
    TypeError, ValueError
        If a volume does not hold whole numbers from 0, shapes differ, nothing is labelled, or two volumes
        are not nested; the message names the labels.
    """
    if len(volumes) == 0:
        raise ValueError("give at least one label volume")
    named = [_labels(volume, index) for index, volume in enumerate(volumes)]
    shapes = {labels.shape for _, labels in named}
    if len(shapes) > 1:
        raise ValueError(f"label volumes have different shapes: {sorted(shapes)}")
    numbered = []
    for name, labels in named:
        values, indices = np.unique(labels[labels > 0], return_inverse=True)
        if len(values) == 0:
            raise ValueError(f"{name} labels no voxel")
        numbered.append((name, values, indices.reshape(-1), labels > 0))
    numbered.sort(key=lambda entry: -len(entry[1]))
    finest_name, finest_values, finest, inside = numbered[0]
    count = len(finest_values)
    sizes = np.bincount(finest, minlength=count).astype(np.int64)

    merges: list[tuple[int, int]] = []
    altitudes: list[float] = []
    node = np.arange(count)  # of the tree, for every finest region
    for altitude, (name, values, indices, own_inside) in enumerate(numbered[1:], start=1):
        if not np.array_equal(own_inside, inside):
            raise ValueError(f"{name} and {finest_name} leave different voxels outside (0)")
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
    """Return the coarse region that every finest region lies in."""
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(low, finest, coarse)
    np.maximum.at(high, finest, coarse)
    if not np.array_equal(low, high):
        bad = int(np.flatnonzero(low != high)[0])
        (name, values), (coarse_name, coarse_values) = finest_labels, coarse_labels
        raise ValueError(
            f"label volumes are not nested: label {values[bad]} of {name} lies in labels "
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
    """Merge all nodes of each group, in order; ``node`` is updated."""
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
