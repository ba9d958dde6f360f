"""Players: regions of a label volume or of a cut of a hierarchy, and the orders in which they come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor

from pyadx.explainers.coalitions import (
    GameSize,
    Node,
    Split,
    draw_order,
    game_size,
    splits_of,
    splits_of_groups,
    tree_of,
)
from pyadx.explainers.segments import check_fits, segmented_part
from pyadx.ops.arrays import plain_array
from pyadx.ops.numbers import whole_number
from pyadx.segmentation import Hierarchy, ucm
from pyadx.segmentation.options import check_options

Order = Literal["tree", "balanced", "flat"]
Groups = Mapping[int, str | Sequence[str]]


@dataclass(frozen=True, eq=False)
class Players:
    """The regions of one scan as players, and the tree that divides them.

    Attributes
    ----------
    numbers : ndarray
        int32 ``[D, H, W]``: player 1 to K of each voxel, and 0 outside all of them.
    labels : tuple of int
        Number of each player in its label volume or cut, ``[K]``; of a group that of its first member.
    names : tuple of str
        Names for people, ``[K]``.
    splits : tuple of tuple of int
        How the tree divides the players, from the root on. Empty if all orders are allowed.
    members : tuple of tuple of int
        All numbers of each player in its label volume or cut, ``[K]``.
    """

    numbers: np.ndarray
    labels: tuple[int, ...]
    names: tuple[str, ...]
    splits: tuple[Split, ...] = ()
    members: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def intervals(self) -> np.ndarray:
        """The interval ``lo <= number < hi`` of each player, int64 ``[K, 2]``."""
        first = np.arange(1, len(self) + 1)
        return np.stack([first, first + 1], 1)

    def order(self, random: np.random.Generator) -> np.ndarray:
        """Draw an order of the players, int64 ``[K]``. All that respect the tree are equally likely."""
        if not self.splits:
            return random.permutation(len(self))
        return draw_order(self.splits, len(self), random)

    def places(self, labels: Sequence[int]) -> list[int]:
        """Return the indices of the players with these labels.

        Raises
        ------
        ValueError
            If no player has a label, or a label occurs twice.
        """
        own = {label: place for place, label in enumerate(self.labels)}
        for label in labels:
            if label not in own:
                some = ", ".join(map(str, self.labels[:5])) + (", ..." if len(own) > 5 else "")
                raise ValueError(f"no region has the label {label!r}; labels are {some}")
        if len(set(labels)) < len(labels):
            raise ValueError(f"a label is given twice in {list(labels)}")
        return [own[label] for label in labels]

    @property
    def size(self) -> GameSize:
        """The cost of exact values."""
        return game_size(self.splits, len(self))

    @property
    def tree(self) -> Node:
        """The root of the players' tree."""
        return tree_of(self.splits, len(self))


@dataclass(frozen=True)
class Choice:
    """Options that decide which regions are players, and which orders count.

    Attributes
    ----------
    count : int
        Number of regions in the cut of a hierarchy; all leaves if there are fewer.
    order : {"tree", "balanced", "flat"}
        ``tree`` takes the tree of the hierarchy or the groups, ``balanced`` a flatter one over the same
        leaves of a hierarchy, ``flat`` none.
    merged : bool
        Whether a group of regions is a single player.
    segmentation : mapping
        Options of `pyadx.segmentation.ucm` for scans without regions.
    """

    count: int
    order: Order = "tree"
    merged: bool = False
    segmentation: Mapping[str, Any] = field(default_factory=dict)


def players_of(
    regions: Any,
    scan: Tensor,
    names: Mapping[int, str] | None,
    inside: np.ndarray | None,
    choice: Choice,
    groups: Groups | None = None,
) -> Players:
    """Return the players of one scan: from a label volume, a hierarchy, or a segmentation of the scan.

    Parameters
    ----------
    regions : array, Hierarchy or None
        A label volume ``[D, H, W]`` or a hierarchy. With None the first channel is segmented.
    scan : Tensor
        ``[C, D, H, W]``.
    names : mapping, optional
        Name of each number of the label volume.
    inside : ndarray, optional
        Region of interest, bool ``[D, H, W]``.
    choice : Choice
        Options that decide which regions are players.
    groups : mapping, optional
        Group of each number of the label volume, or its nested groups, outermost first.

    Raises
    ------
    TypeError, ValueError
        If regions, names or groups do not fit, or there are fewer than two players.
    """
    if regions is None:
        regions = ucm(scan[0].float(), segmented_part(scan, inside), **choice.segmentation)
    shape = tuple(scan.shape[1:])
    if isinstance(regions, Hierarchy):
        if groups:
            raise ValueError("groups belong to the numbers of a label volume; a hierarchy has its own")
        check_fits(regions, shape)
        return players_of_tree(regions, choice, inside)
    return players_of_labels(regions, shape, names, inside, choice, groups)


def segmentation_options(linkage: Any, spacing: Any, max_regions: int) -> dict[str, Any]:
    """Return checked options of `pyadx.segmentation.ucm` for scans that are passed without regions."""
    options = {
        "preset": "default", "linkage": linkage, "cue": None, "min_size": None, "smoothing": None,
        "spacing": spacing, "max_levels": 20, "max_regions": max_regions,
    }  # fmt: skip
    check_options(**options)
    return options


def whole_from(name: str, value: Any, least: int) -> int:
    """Return a whole number. Raise ``ValueError`` if the value is not one, or is below ``least``."""
    number = whole_number(value)
    if number is None or number < least:
        raise ValueError(f"{name} must be a whole number from {least}, got {value!r}")
    return number


def players_of_labels(
    regions: Any,
    shape: tuple[int, ...],
    names: Mapping[int, str] | None,
    inside: np.ndarray | None,
    choice: Choice,
    groups: Groups | None = None,
) -> Players:
    """Return one player for every number above 0 of a label volume ``[D, H, W]``, or for every group.

    Takes the parameters of `players_of`; ``shape`` is the spatial shape of the scan.

    Raises
    ------
    TypeError, ValueError
        If the volume does not hold whole numbers, has another shape, holds fewer than two players, or lacks
        a number of ``names`` or ``groups``.
    """
    given = checked_labels(regions, shape)
    if inside is not None:
        given = np.where(inside, given, 0)
    labels = [int(n) for n in np.unique(given) if n > 0]
    for what in (names, groups):
        missing = [n for n in what or {} if n not in labels]
        if missing:
            raise ValueError(f"region {missing[0]} ({(what or {})[missing[0]]}) has no voxel in the scan")
    paths = {n: _path(groups or {}, n) for n in labels}
    labels.sort(key=lambda n: (not paths[n], paths[n], n))  # members of a group are neighbours
    called = [(names or {}).get(n, str(n)) for n in labels]
    members: list[tuple[int, ...]] = [(n,) for n in labels]
    if choice.merged:
        together: dict[str, list[int]] = {}
        for n, name in zip(labels, called, strict=True):
            together.setdefault(paths[n][0] if paths[n] else name, []).append(n)
        members, called = [tuple(own) for own in together.values()], list(together)
    if len(members) < 2:
        raise ValueError(f"there must be at least two regions, got {len(members)}")
    present = np.unique(given)
    player_of = {n: number for number, own in enumerate(members, start=1) for n in own}
    number_of = np.array([player_of.get(int(n), 0) for n in present], np.int32)
    nested = choice.order != "flat" and not choice.merged and any(paths.values())
    splits = splits_of_groups([paths[n] for n in labels]) if nested else ()
    first = tuple(own[0] for own in members)
    return Players(number_of[np.searchsorted(present, given)], first, tuple(called), splits, tuple(members))


def _path(groups: Groups, number: int) -> tuple[str, ...]:
    path = groups.get(number, ())
    return (path,) if isinstance(path, str) else tuple(path)


def checked_labels(regions: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a label volume as integers ``[D, H, W]``.

    Raises
    ------
    TypeError
        If the volume does not hold whole numbers.
    ValueError
        If its shape is not that of the scan, or a number is negative.
    """
    given = plain_array("regions", regions)
    if given.dtype.kind == "f" and np.isfinite(given).all() and (given == np.round(given)).all():
        given = given.astype(np.int64)
    if given.dtype.kind not in "iu":
        raise TypeError(f"regions must hold whole numbers, got {given.dtype}")
    if given.shape != shape:
        overlap = "; masks that overlap cannot be one label volume" if given.ndim > len(shape) else ""
        raise ValueError(f"regions have shape {given.shape}, the scan {shape}{overlap}")
    if given.min(initial=0) < 0:
        raise ValueError(f"regions must not be negative, got {given.min()}")
    return given


def players_of_tree(tree: Hierarchy, choice: Choice, inside: np.ndarray | None) -> Players:
    """Return the regions of a cut of a hierarchy as players, with the tree above them.

    Raises
    ------
    ValueError
        If the cut has fewer than two regions.
    """
    numbers = tree.cut(choice.count)
    regions = int(numbers.max(initial=0))
    if regions < 2:
        raise ValueError(f"there must be at least two regions, the hierarchy has {regions}")
    if inside is not None:
        numbers = np.where(inside, numbers, 0).astype(np.int32)
    labels = tuple(range(1, regions + 1))
    splits: tuple[Split, ...] = ()
    if choice.order != "flat":
        splits = splits_of(tree.merge_order(choice.count), balanced=choice.order == "balanced")
    return Players(numbers, labels, tuple(map(str, labels)), splits, tuple((n,) for n in labels))


def regions_per_scan(regions: Any, volume: Tensor) -> Sequence[Any]:
    """Return the label volume or hierarchy of each scan; None if scans are still to be segmented.

    Raises
    ------
    ValueError
        If their number is not that of the scans.
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
        raise ValueError(
            f"got regions of {len(several)} scans for {scans}; pass one label volume for all scans, or one "
            "per scan (several masks must be made into one label volume first)"
        )
    return several
