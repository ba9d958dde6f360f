"""The regions of a Shapley value: labels of a volume or a cut of a hierarchy, and orders of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from pyadx.explainers.segments import check_fits, segmented_part
from pyadx.ops.arrays import plain_array
from pyadx.ops.numbers import whole_number
from pyadx.segmentation import Hierarchy, ucm
from pyadx.segmentation.options import check_options

Order = Literal["tree", "flat"]
Split = tuple[int, int, int]  # players low <= i < middle, and middle <= i < high


@dataclass(frozen=True, eq=False)
class Players:
    """Regions that share out a change of the class score.

    Attributes
    ----------
    numbers : ndarray
        int32 ``[D, H, W]``: 1 to K, and 0 outside all of them.
    labels : tuple of int
        What each of them is called in the volume that it came from, ``[K]``.
    names : tuple of str
        For people, ``[K]``.
    splits : tuple of (int, int, int)
        How a tree divides the players, from the root on; empty where there is no tree.
    """

    numbers: np.ndarray
    labels: tuple[int, ...]
    names: tuple[str, ...]
    splits: tuple[Split, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def intervals(self) -> np.ndarray:
        """One interval of ``numbers`` for each, int64 ``[K, 2]``."""
        first = np.arange(1, len(self) + 1)
        return np.stack([first, first + 1], 1)

    def order(self, kind: Order, random: np.random.Generator) -> np.ndarray:
        """Draw an order of the players, int64 ``[K]``.

        With ``tree`` the two sides of every split stay together, and either comes first: all orders that
        respect the tree are equally likely. Without a tree all orders are.
        """
        if kind == "flat" or not self.splits:
            return random.permutation(len(self))
        order = np.arange(len(self))
        turned = random.random(len(self.splits)) < 0.5
        # From the finest split up, so that a block that is turned around is in its own order already.
        for (low, middle, high), turn in zip(self.splits[::-1], turned[::-1], strict=True):
            if turn:
                order[low:high] = np.concatenate([order[middle:high], order[low:middle]])
        return order


def players_of(
    regions: Any,
    scan: Tensor,
    names: Mapping[int, str] | None,
    inside: np.ndarray | None,
    count: int,
    segmentation: Mapping[str, Any],
) -> Players:
    """Return the regions of one scan ``[C, D, H, W]``: of a label volume, a hierarchy, or its segmentation.

    Parameters
    ----------
    regions : array, Hierarchy or None
        Without it the first channel is segmented where it is no background.
    scan : Tensor
        The scan.
    names : mapping, optional
        Number in the label volume to name.
    inside : ndarray, optional
        Region of interest, bool ``[D, H, W]``.
    count : int
        Regions of a cut of a hierarchy.
    segmentation : mapping
        Options of `pyadx.segmentation.ucm`.
    """
    if regions is None:
        regions = ucm(scan[0].float(), segmented_part(scan, inside), **segmentation)
    shape = tuple(scan.shape[1:])
    if not isinstance(regions, Hierarchy):
        return players_of_labels(regions, shape, names, inside)
    check_fits(regions, shape)
    return players_of_tree(regions, count, inside)


def segmentation_options(linkage: Any, spacing: Any, max_regions: int) -> dict[str, Any]:
    """Return checked options of `pyadx.segmentation.ucm` for scans that come without regions."""
    options = {
        "preset": "default", "linkage": linkage, "cue": None, "min_size": None, "smoothing": None,
        "spacing": spacing, "max_levels": 20, "max_regions": max_regions,
    }  # fmt: skip
    check_options(**options)
    return options


def whole_from(name: str, value: Any, least: int) -> int:
    """Return a whole number; raise ``ValueError`` if it is none, or below the least."""
    number = whole_number(value)
    if number is None or number < least:
        raise ValueError(f"{name} must be a whole number from {least}, got {value!r}")
    return number


def players_of_labels(
    regions: Any, shape: tuple[int, ...], names: Mapping[int, str] | None, inside: np.ndarray | None
) -> Players:
    """Return one player for every number above 0 of a label volume ``[D, H, W]``.

    Raises
    ------
    TypeError, ValueError
        If the volume holds no whole numbers, has another shape, or holds fewer than two regions.
    """
    given = plain_array("regions", regions)
    if given.dtype.kind == "f" and np.isfinite(given).all() and (given == np.round(given)).all():
        given = given.astype(np.int64)
    if given.dtype.kind not in "iu":
        raise TypeError(f"regions must hold whole numbers, got {given.dtype}")
    if given.shape != shape:
        raise ValueError(f"regions have shape {given.shape}, the scan {shape}")
    if given.min(initial=0) < 0:
        raise ValueError(f"regions must not be negative, got {given.min()}")
    if inside is not None:
        given = np.where(inside, given, 0)
    labels = [int(n) for n in np.unique(given) if n > 0]
    missing = [n for n in names or {} if n not in labels]
    if missing:
        raise ValueError(f"region {missing[0]} ({(names or {})[missing[0]]}) has no voxel of the scan")
    if len(labels) < 2:
        raise ValueError(f"a share needs at least two regions, got {len(labels)}")
    numbers = np.searchsorted(labels, given, "left") + 1
    numbers[given == 0] = 0
    called = tuple((names or {}).get(n, str(n)) for n in labels)
    return Players(numbers.astype(np.int32), tuple(labels), called)


def players_of_tree(tree: Hierarchy, count: int, inside: np.ndarray | None) -> Players:
    """Return the regions of a cut of a hierarchy, with the tree above them.

    Raises
    ------
    ValueError
        If it has a single region.
    """
    numbers = tree.cut(count)
    regions = int(numbers.max(initial=0))
    if regions < 2:
        raise ValueError(f"a share needs at least two regions, the hierarchy has {regions}")
    if inside is not None:
        numbers = np.where(inside, numbers, 0).astype(np.int32)
    labels = tuple(range(1, regions + 1))
    return Players(numbers, labels, tuple(map(str, labels)), splits_of(tree.joins(count)))


def splits_of(joins: np.ndarray) -> tuple[Split, ...]:
    """Return the splits of a tree, from the root on, given when neighbours come together, ``[K - 1]``."""
    splits, blocks = [], [(0, len(joins) + 1)]
    while blocks:
        low, high = blocks.pop()
        if high - low > 1:
            middle = low + 1 + int(joins[low : high - 1].argmax())
            splits.append((low, middle, high))
            blocks += [(low, middle), (middle, high)]
    return tuple(splits)


def regions_per_scan(regions: Any, volume: Tensor) -> Sequence[Any]:
    """Return the label volume or hierarchy of every scan; None where it is segmented here.

    Raises
    ------
    ValueError
        If there are more or fewer than scans.
    """
    scans = volume.shape[0]
    if regions is None or isinstance(regions, Hierarchy):
        return [regions] * scans
    if isinstance(regions, list | tuple) and any(isinstance(own, Hierarchy) for own in regions):
        several: Sequence[Any] = regions
    else:
        array = plain_array("regions", regions)
        several = [array] * scans if array.ndim == 3 else list(array)
    if len(several) != scans:
        raise ValueError(f"got regions of {len(several)} scans for {scans}")
    return several
