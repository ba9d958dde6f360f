"""Options of the segmentation, checked before any work starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pyadx.ops.numbers import real_number, whole_number
from pyadx.segmentation.checks import as_spacing

CueKind = Literal["gradient", "chi2", "gpb"]
Linkage = Literal["ward", "hybrid", "boundary", "gbh"]


@dataclass(frozen=True)
class Preset:
    """Options of `pyadx.segmentation.ucm` that are chosen together.

    Attributes
    ----------
    cue : str or array
        ``gradient``, ``chi2``, ``gpb``, or a boundary map.
    linkage : {"ward", "hybrid", "boundary", "gbh"}
        What decides which regions merge next.
    min_size : int
        Smallest region in voxels.
    smoothing : float
        Standard deviation of the Gaussian, in units of the smallest voxel size.
    """

    cue: Any
    linkage: Linkage
    min_size: int
    smoothing: float


PRESETS = {
    "default": Preset("gradient", "ward", 20, 0.35),
    "paper": Preset("gpb", "boundary", 1, 0.5),
    "release": Preset("gpb", "gbh", 20, 0.5),
}


def check_options(
    *,
    cue: Any = None,
    linkage: str | None = None,
    preset: str = "default",
    min_size: int | None = None,
    smoothing: float | None = None,
    max_levels: int = 20,
    max_regions: int = 500,
    spacing: float | Sequence[float] | None = None,
) -> Preset:
    """Check the options of `pyadx.segmentation.ucm`, and take those that are not given from the preset.

    Parameters
    ----------
    cue, linkage, preset, min_size, smoothing, max_levels, max_regions, spacing
        As in `pyadx.segmentation.ucm`. A boundary map is not checked here.

    Raises
    ------
    ValueError
        If an option is unknown or out of range.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    base = PRESETS[preset]
    cue = base.cue if cue is None else cue
    linkage = linkage or base.linkage
    min_size = base.min_size if min_size is None else min_size
    smoothing = base.smoothing if smoothing is None else smoothing
    if isinstance(cue, str) and cue not in get_args(CueKind):
        raise ValueError(f"cue must be one of {', '.join(get_args(CueKind))} or an array, got {cue!r}")
    if linkage not in get_args(Linkage):
        raise ValueError(f"linkage must be one of {', '.join(get_args(Linkage))}, got {linkage!r}")
    limits = {"min_size": (min_size, 0), "max_levels": (max_levels, 1), "max_regions": (max_regions, 1)}
    for name, (value, least) in limits.items():
        number = whole_number(value)
        if number is None or number < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    width = real_number(smoothing)
    if width is None or not 0 <= width <= 10:
        raise ValueError(f"smoothing must be from 0 to 10 voxels, got {smoothing!r}")
    as_spacing(spacing)
    return Preset(cue, linkage, int(min_size), width)  # type: ignore[arg-type]
