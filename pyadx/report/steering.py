"""Options of still figures: the position of the sections, the threshold, and the mask."""

import math
import warnings
from collections.abc import Sequence

import numpy as np

Threshold = float | str


def read_threshold(threshold: Threshold) -> tuple[float, bool]:
    """Parse a threshold.

    Parameters
    ----------
    threshold : float or str
        A number, also as text, or a percentile such as ``"99%"``.

    Returns
    -------
    number : float
        The absolute value or the percentile.
    percentile : bool
        Whether the number is a percentile.

    Raises
    ------
    ValueError
        If it is neither, is negative or not finite, or is a percentile above 100.
    """
    text = str(threshold).strip()
    percentile = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf or (percentile and number > 100):
        raise ValueError(
            "threshold must be a number of at least 0, or a percentile from 0% to 100%, such as 99%; "
            f"got {threshold!r}"
        )
    return number, percentile


def shown_part(
    values: np.ndarray,
    threshold: Threshold | None = None,
    mask: np.ndarray | None = None,
    name: str = "map",
) -> tuple[np.ndarray, str]:
    """Set a map to 0 where it is not shown, and describe the threshold.

    Parameters
    ----------
    values : numpy.ndarray
        ``[D, H, W]``.
    threshold : float or str, optional
        Smallest absolute value shown, or a percentile of the non-zero absolute values inside the mask.
    mask : numpy.ndarray, optional
        bool ``[D, H, W]``: the map is shown inside it only.
    name : str
        Name of the map in messages.

    Returns
    -------
    values : numpy.ndarray
        ``[D, H, W]``, of the same dtype.
    words : str
        Threshold as a value, and as a percentile if it was given so; empty without a threshold.

    Warns
    -----
    UserWarning
        If nothing is shown of a map that is not 0 everywhere.

    Raises
    ------
    ValueError
        If the threshold is invalid, or the mask has another shape.
    """
    if mask is not None and mask.shape != values.shape:
        raise ValueError(f"the mask has shape {mask.shape}, but {name} has shape {values.shape}")
    part = values if mask is None else np.where(mask, values, np.zeros_like(values))
    words = ""
    if threshold is not None:
        size = np.abs(part).astype(np.float64)
        least = _least(threshold, size)
        part = np.where(size >= least, part, np.zeros_like(part))
        words = f"|value| \N{GREATER-THAN OR EQUAL TO} {least:.3g}"
        words += f" ({threshold})" if read_threshold(threshold)[1] else ""
    if np.any(values) and not np.any(part):
        warnings.warn(
            f"{name}: the figure shows nothing of it, because {_hidden_by(values, threshold, mask)}",
            UserWarning,
            stacklevel=3,
        )
    return part, words


def voxel_at(position: Sequence[float], affine: np.ndarray, shape: Sequence[int], name: str) -> list[int]:
    """Return the indices of the voxel at a world position.

    Parameters
    ----------
    position : sequence of float
        x, y, z in mm of the world (RAS+: right, anterior, superior).
    affine : numpy.ndarray
        Voxel-to-world matrix ``[4, 4]``, mm.
    shape : sequence of int
        Shape of the volume.
    name : str
        Name of the volume in messages.

    Returns
    -------
    list of int
        Voxel indices along the three axes.

    Raises
    ------
    ValueError
        If the position is outside the volume.
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
    """Return the world position of a voxel: x, y, z in mm (RAS+)."""
    found: list[float] = (affine[:3, :3] @ np.asarray(voxel, float) + affine[:3, 3]).tolist()
    return found


def section_title(section: str, axis: int, voxel: Sequence[int], affine: np.ndarray | None) -> str:
    """Return the title of a section: its voxel index and, if an affine is given, its position in mm."""
    title = f"{section}, voxel {voxel[axis]}"
    if affine is None:
        return title
    return f"{title}, {'xyz'[axis]} = {_mm(world_position(voxel, affine)[axis])} mm"


def caption(grid: str, *, world: bool, masked: bool) -> str:
    """Return the caption of a figure.

    Parameters
    ----------
    grid : str
        Grid that voxel indices refer to; empty if unknown.
    world : bool
        Whether the figure states positions in mm.
    masked : bool
        Whether maps are shown inside a mask only.

    Returns
    -------
    str
        Sentences about these; empty if there is nothing to say.
    """
    parts = []
    if grid:
        parts.append(f"Voxel indices start at 0 and refer to {grid}.")
    if world:
        parts.append(
            "Positions in mm are the file's world coordinates: x to the right, y to the front, z up."
        )
    if masked:
        parts.append("Maps are shown inside a mask only.")
    return " ".join(parts)


def _hidden_by(values: np.ndarray, threshold: Threshold | None, mask: np.ndarray | None) -> str:
    """Return the reason why nothing of a map is shown, with its largest value."""
    size = np.abs(values if mask is None else values[mask.astype(bool)]).astype(np.float64)
    where = "" if mask is None else " inside the mask"
    top = float(size.max(initial=0.0))
    if threshold is None or top == 0:
        return f"all of its values{where} are 0"
    return (
        f"no value{where} reaches the threshold of {_least(threshold, size):.3g}; "
        f"the largest absolute value{where} is {top:.3g}"
    )


def _least(threshold: Threshold, size: np.ndarray) -> float:
    number, percentile = read_threshold(threshold)
    if not percentile:
        return number
    counted = size[size > 0]
    return float(np.percentile(counted, number)) if counted.size else 0.0


def _mm(value: float) -> str:
    return f"{round(float(value), 1) + 0.0:g}"
