"""Table of a heatmap's values in the regions of an atlas, with left-right comparison."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

COLUMNS: dict[str, tuple[str, str]] = {
    "index": ("Number of the region in the label volume.", ""),
    "name": ("Name of the region in the key; its number if the key has no name.", ""),
    "hemisphere": ("L or R, if the name says so.", ""),
    "n_voxels": ("Number of the heatmap's voxels in the region.", ""),
    "volume_mm3": ("Volume of these voxels.", "mm3"),
    "mean": ("Mean of the heatmap in the region.", ""),
    "sum": ("Sum of the heatmap in the region.", ""),
    "share_of_total": ("Sum of absolute values in the region over that of the whole heatmap: 0 to 1.", ""),
    "p95": ("95th percentile of the values in the region, interpolated linearly.", ""),
    "max": ("Largest value.", ""),
    **{f"max_{a}": (f"Place of the maximum: voxel index along axis {a}, from 0.", "") for a in "ijk"},
    **{f"max_{a}": (f"Place of the maximum: {a} in world space (RAS+).", "mm") for a in "xyz"},
    "fraction_above": ("Share of the region's voxels above the threshold.", ""),
    "rank": ("Rank of the mean among all regions: 1 is the largest; equal means share a rank.", ""),
    "asymmetry": (
        "(L - R) / (|L| + |R|) of the means of a left and a right region whose names differ only in the "
        "side; 0 if both are 0.",
        "",
    ),
}
_SIDE = re.compile(
    r"(?<![a-z0-9])(left|right|lh|rh)(?![a-z0-9])|^[lr](?![a-z0-9])|(?<![a-z0-9])[lr]$", re.I
)


def region_table(
    heatmap: np.ndarray,
    labels: np.ndarray,
    affine: np.ndarray,
    names: Mapping[int, str] | None = None,
    *,
    threshold: float | None = None,
    numbers: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Describe a heatmap in every region of a label volume.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``[I, J, K]``, finite.
    labels : numpy.ndarray
        ``[I, J, K]`` on the same voxels, whole numbers; 0 is no region.
    affine : numpy.ndarray
        ``[4, 4]``, voxel to world, mm.
    names : mapping, optional
        Names by number (`pyadx.data.read_key`).
    threshold : float, optional
        Threshold of ``fraction_above``; by default `usual_threshold`.
    numbers : array of int, optional
        Regions to describe; by default those in ``labels``. A region without a voxel gets a row of
        ``None``, with a warning.

    Returns
    -------
    list of dict
        One row per region, sorted by number. Keys and their meaning are in `COLUMNS`. Undefined values
        are ``None``.

    Raises
    ------
    ValueError
        If shapes differ, the heatmap is not finite, labels are not whole numbers, or there is no region.
    """
    values, regions = _checked(heatmap, labels)
    known = {} if names is None else dict(names)
    wanted = (
        np.unique(regions[regions != 0]) if numbers is None else np.unique(np.asarray(numbers, np.int64))
    )
    wanted = wanted[wanted != 0]
    if not len(wanted):
        raise ValueError("the label volume has no region: every voxel is 0")
    limit = usual_threshold(values, regions) if threshold is None else float(threshold)
    total = float(np.abs(values).sum())
    order = np.argsort(
        regions, axis=None, kind="stable"
    )  # stable: keeps the order of voxels within a region
    ordered = regions.ravel()[order]
    first, last = np.searchsorted(ordered, wanted), np.searchsorted(ordered, wanted, side="right")
    rows = [
        _row(int(n), known.get(int(n), str(n)), order[a:b], values, affine, total, limit)
        for n, a, b in zip(wanted, first, last, strict=True)
    ]
    lost = [row["name"] for row in rows if not row["n_voxels"]]
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(rows)} regions have no voxel on the heatmap's grid: "
            f"{', '.join(lost[:5])}{', ...' if len(lost) > 5 else ''}",
            UserWarning,
            stacklevel=2,
        )
    _rank(rows)
    _pair(rows)
    return rows


def usual_threshold(heatmap: np.ndarray, labels: np.ndarray) -> float:
    """Return the 95th percentile of a heatmap over all voxels that have a label; 0 if none has."""
    inside = heatmap[labels != 0]
    return float(np.percentile(inside.astype(np.float64), 95)) if inside.size else 0.0


def side_of(name: str) -> tuple[str, str] | None:
    """Return the side (L or R) and the name without it, or ``None`` if a name has no side, or two.

    The words left, right, lh and rh count anywhere in the name; L and R only at its start or end.
    """
    found = list(_SIDE.finditer(name))
    if len(found) != 1:
        return None
    at = found[0]
    return at[0][0].upper(), f"{name[: at.start()]}*{name[at.end() :]}".lower()


def _checked(heatmap: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, regions = np.asarray(heatmap, np.float64), np.asarray(labels)
    if values.ndim != 3 or values.shape != regions.shape:
        raise ValueError(
            f"the heatmap has shape {values.shape}, the labels {regions.shape}; expected the same 3 axes"
        )
    if not np.isfinite(values).all():
        raise ValueError("the heatmap holds NaN or infinity")
    if not np.array_equal(regions, np.rint(regions)):
        raise ValueError("the labels are not whole numbers")
    return values, regions.astype(np.int64)


def _row(
    number: int,
    name: str,
    voxels: np.ndarray,
    values: np.ndarray,
    affine: np.ndarray,
    total: float,
    limit: float,
) -> dict[str, Any]:
    side = side_of(name)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"index": number, "name": name, "hemisphere": side and side[0], "n_voxels": len(voxels)}
    row["volume_mm3"] = len(voxels) * float(abs(np.linalg.det(affine[:3, :3])))
    if not len(voxels):
        return row
    inside = values.ravel()[voxels]
    at = [int(n) for n in np.unravel_index(voxels[inside.argmax()], values.shape)]
    place = affine[:3, :3] @ at + affine[:3, 3]
    row |= {"mean": float(inside.mean()), "sum": float(inside.sum())}
    row["share_of_total"] = float(np.abs(inside).sum()) / total if total else 0.0
    row |= {"p95": float(np.percentile(inside, 95)), "max": float(inside.max())}
    row |= {f"max_{a}": n for a, n in zip("ijk", at, strict=True)}
    row |= {f"max_{a}": float(mm) for a, mm in zip("xyz", place, strict=True)}
    row["fraction_above"] = float((inside > limit).mean())
    return row


def _rank(rows: list[dict[str, Any]]) -> None:
    means = sorted((row["mean"] for row in rows if row["mean"] is not None), reverse=True)
    places: dict[float, int] = {}
    for place, mean in enumerate(means, 1):
        places.setdefault(mean, place)
    for row in rows:
        row["rank"] = None if row["mean"] is None else places[row["mean"]]


def _pair(rows: list[dict[str, Any]]) -> None:
    pairs: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for row in rows:
        side = side_of(row["name"])
        if side is not None and row["mean"] is not None:
            pairs.setdefault(side[1], []).append((side[0], row))
    for pair in pairs.values():
        if sorted(side for side, _ in pair) != ["L", "R"]:
            continue
        of = dict(pair)
        left, right = of["L"]["mean"], of["R"]["mean"]
        size = abs(left) + abs(right)
        of["L"]["asymmetry"] = of["R"]["asymmetry"] = (left - right) / size if size else 0.0
