"""What the caller decides about a still figure: where it is cut, from which value on, and inside what."""

import math
import warnings
from collections.abc import Sequence

import numpy as np

Threshold = float | str


def read_threshold(threshold: Threshold) -> tuple[float, bool]:
    """Return the number of a threshold, and whether it is a percentile.

    Parameters
    ----------
    threshold : float or str
        An absolute value, also as text, or a percentile such as ``"99%"``.

    Raises
    ------
    ValueError
        If it is none of these, negative, not finite, or a percentile above 100.
    """
    text = str(threshold).strip()
    percentile = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf or (percentile and number > 100):
        raise ValueError(
            "threshold must be a number of at least 0, or a percentile of 0% to 100%, such as 99%; "
            f"got {threshold!r}"
        )
    return number, percentile


def shown_part(
    values: np.ndarray,
    threshold: Threshold | None = None,
    mask: np.ndarray | None = None,
    name: str = "map",
) -> tuple[np.ndarray, str]:
    """Return a map with zeros where it is not shown, and words for its threshold.

    Parameters
    ----------
    values : numpy.ndarray
        ``[D, H, W]``.
    threshold : float or str, optional
        Absolute value from which on it is shown, or a percentile of the absolute values, inside the mask,
        that are not 0.
    mask : numpy.ndarray, optional
        Bool ``[D, H, W]``: the map is shown inside it only.
    name : str
        What a warning calls the map.

    Returns
    -------
    values : numpy.ndarray
        ``[D, H, W]``, of the same dtype.
    words : str
        Its value, and the percentile that it is; empty without a threshold.

    Warns
    -----
    UserWarning
        If nothing is left of a map that is not 0 everywhere.

    Raises
    ------
    ValueError
        If the threshold is none, or the mask has another shape.
    """
    if mask is not None and mask.shape != values.shape:
        raise ValueError(f"the mask has shape {mask.shape}, {name} {values.shape}")
    part = values if mask is None else np.where(mask, values, np.zeros_like(values))
    words = ""
    if threshold is not None:
        size = np.abs(part).astype(np.float64)
        least = _least(threshold, size)
        part = np.where(size >= least, part, np.zeros_like(part))
        words = f"|value| \N{GREATER-THAN OR EQUAL TO} {least:.3g}"
        words += f" ({threshold})" if read_threshold(threshold)[1] else ""
    if np.any(values) and not np.any(part):
        where = "" if mask is None else " inside the mask"
        reached = " that reaches the threshold" if threshold is not None else ""
        warnings.warn(
            f"{name}: the figure shows nothing of it; it has no value{where}{reached}",
            UserWarning,
            stacklevel=3,
        )
    return part, words


def voxel_at(position: Sequence[float], affine: np.ndarray, shape: Sequence[int], name: str) -> list[int]:
    """Return the voxel that holds a position.

    Parameters
    ----------
    position : sequence of float
        x, y, z in mm of the world that ``affine`` leads to (RAS+: right, anterior, superior).
    affine : numpy.ndarray
        Voxel-to-world matrix ``[4, 4]``.
    shape : sequence of int
        Of the volume.
    name : str
        What an error calls the volume.

    Raises
    ------
    ValueError
        If it lies outside the volume.
    """
    place = np.linalg.inv(affine) @ [*map(float, position), 1.0]
    voxel = np.rint(place[:3])
    if not ((voxel >= 0) & (voxel < np.array(shape))).all():
        last = np.array(shape) - 1
        corners = np.array([world_position(np.array(c) * last, affine) for c in np.ndindex(2, 2, 2)])
        ends = zip("xyz", corners.min(0), corners.max(0), strict=True)
        reach = ", ".join(f"{axis} from {_mm(low)} to {_mm(high)}" for axis, low, high in ends)
        raise ValueError(
            f"slices at {','.join(map(_mm, position))} mm lie outside {name}, which reaches {reach} mm"
        )
    return [int(place) for place in voxel]


def world_position(voxel: Sequence[float] | np.ndarray, affine: np.ndarray) -> list[float]:
    """Return where a voxel lies: x, y, z in mm of the world (RAS+)."""
    found: list[float] = (affine[:3, :3] @ np.asarray(voxel, float) + affine[:3, 3]).tolist()
    return found


def section_title(section: str, axis: int, voxel: Sequence[int], affine: np.ndarray | None) -> str:
    """Return the title of a section: its voxel and, where the world is known, millimetres."""
    title = f"{section}, voxel {voxel[axis]}"
    if affine is None:
        return title
    return f"{title}, {'xyz'[axis]} = {_mm(world_position(voxel, affine)[axis])} mm"


def caption(grid: str, *, world: bool, masked: bool) -> str:
    """Return what stands beneath a figure: what voxels and millimetres count in, and what is hidden."""
    parts = []
    if grid:
        parts.append(f"Voxels count from 0 in {grid}.")
    if world:
        parts.append("Millimetres count in the file's world: x to the right, y to the front, z up.")
    if masked:
        parts.append("Maps are shown inside a mask only.")
    return " ".join(parts)


def _least(threshold: Threshold, size: np.ndarray) -> float:
    number, percentile = read_threshold(threshold)
    if not percentile:
        return number
    counted = size[size > 0]
    return float(np.percentile(counted, number)) if counted.size else 0.0


def _mm(value: float) -> str:
    return f"{round(float(value), 1) + 0.0:g}"
