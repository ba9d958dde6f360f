"""Still figures: axial, sagittal and coronal sections with heatmaps over the scan."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyadx.extras import needed_for
from pyadx.files import replacing
from pyadx.report.colours import ColourScale, colour_scale
from pyadx.report.sidecars import approximation
from pyadx.report.steering import Threshold, caption, section_title, shown_part, voxel_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Section name, canonical axis normal to the section, and the letters at the picture's left and right edge.
SECTIONS = (("axial", 2, "L", "R"), ("sagittal", 0, "P", "A"), ("coronal", 1, "L", "R"))
FIGURES = (".png", ".pdf")
_DPI = 150
_NEIGHBOURHOOD = 1.5  # standard deviation, in voxels, of the smoothing before the strongest voxel is sought
_SAME = 1e-6  # relative difference below which two values count as equal


def check_figures_possible() -> None:
    """Raise ``ValueError`` if Matplotlib is not installed."""
    with needed_for("a figure"):
        import matplotlib  # noqa: F401


def check_figure_name(path: Path) -> None:
    """Raise ``ValueError`` unless the file name ends in .png or .pdf."""
    if path.suffix.lower() not in FIGURES:
        raise ValueError(f"{path}: a figure is written as .png or .pdf")


def save_panels(
    path: str | os.PathLike[str],
    scan: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    title: str,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    at: Sequence[int] | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    grid: str = "",
    *,
    affine: np.ndarray | None = None,
    slices: Sequence[float] | None = None,
    threshold: Threshold | None = None,
    mask: np.ndarray | None = None,
) -> None:
    """Draw the scan, and each heatmap over it, as rows of three sections.

    The colours of a heatmap run from 0 to the 99.5th percentile of its non-zero absolute values. If it has
    negative values, they diverge from 0 with the same range on both sides. Weak values are transparent.
    Threshold and mask hide values but do not change the colours of others.

    Parameters
    ----------
    path : path
        PNG or PDF file. It appears complete or not at all.
    scan : numpy.ndarray
        ``[D, H, W]`` in canonical (RAS+) axis order.
    heatmaps : mapping
        Title of each row to heatmap ``[D, H, W]`` on the same voxels.
    title : str
        Title of the figure.
    spacing : tuple of float
        Voxel size in mm along each axis; ignored if ``affine`` is given.
    at : sequence of int, optional
        Voxel where the sections are cut. By default, where the first heatmap, as shown, is strongest.
    facts : mapping, optional
        Title of a row to the sidecar of its heatmap, for the meaning of signs and a note on approximations.
    grid : str
        Grid that voxel indices refer to, such as "the network's grid"; written below the figure.
    affine : numpy.ndarray, optional
        Voxel-to-world matrix ``[4, 4]`` of the volumes, mm. With it, titles of sections also state mm.
    slices : sequence of float, optional
        x, y, z in mm of the world of ``affine`` (RAS+): place of the sections, instead of ``at``.
    threshold : float or str, optional
        Smallest absolute value shown: a number, or a percentile such as ``"99%"`` of each map's non-zero
        absolute values.
    mask : numpy.ndarray, optional
        bool ``[D, H, W]``: maps are shown inside it only.

    Raises
    ------
    ValueError
        If ``slices`` are outside the scan, lack ``affine``, or are given together with ``at``; if the
        threshold is invalid; if the mask has another shape or no voxel; if the file name does not end in
        .png or .pdf; if Matplotlib is not installed.

    Warns
    -----
    UserWarning
        If threshold and mask hide all of a map.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    check_figure_name(path)
    spacing = spacing if affine is None else voxel_sizes(affine)
    if mask is not None and not mask.any():
        raise ValueError("the mask holds no voxel")
    parts = {name: shown_part(values, threshold, mask, name) for name, values in heatmaps.items()}
    centre = _centre(scan, {name: part for name, (part, _) in parts.items()}, at, slices, affine)
    rows = {"scan": None, **heatmaps}
    figure = Figure(figsize=(9.4, 2.9 * len(rows) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, parse_math=False)
    # The last column holds the colour bars, so that sections stay aligned from row to row.
    axes = figure.subplots(len(rows), len(SECTIONS) + 1, squeeze=False, width_ratios=[1.0, 1.0, 1.0, 0.035])
    if words := caption(grid, world=affine is not None, masked=mask is not None):
        figure.supxlabel(words, fontsize=7, color="0.35")
    for (name, heatmap), row in zip(rows.items(), axes, strict=True):
        overlay: Any = None
        about = (facts or {}).get(name, {})
        scale = None if heatmap is None else colour_scale(heatmap, about)
        for (section, axis, left, right), picture in zip(SECTIONS, row[:-1], strict=True):
            aspect = show_scan(picture, scan, axis, centre[axis], spacing)
            if heatmap is not None and scale is not None:
                overlay = show_heatmap(picture, parts[name][0], axis, centre[axis], scale, aspect)
            label_sides(picture, left, right)
            if heatmap is None:
                picture.set_title(section_title(section, axis, centre, affine), fontsize=9)
        row[0].set_ylabel(name, fontsize=10, parse_math=False)
        if heatmap is not None:
            said = (approximation(about), parts[name][1])
            row[1].set_title("; ".join(words for words in said if words), fontsize=9)
        if overlay is None or scale is None:
            row[-1].set_axis_off()
        else:
            colour_bar(figure, overlay, scale, cax=row[-1])
    with replacing(path) as (partial,):
        figure.savefig(partial, dpi=_DPI, facecolor="white", format=path.suffix[1:].lower())


def voxel_sizes(affine: np.ndarray) -> tuple[float, float, float]:
    """Return the voxel size in mm along each axis of a volume with this affine ``[4, 4]``."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def _centre(
    scan: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    at: Sequence[int] | None,
    slices: Sequence[float] | None,
    affine: np.ndarray | None,
) -> list[int]:
    if slices is None:
        return section_voxel(scan, heatmaps) if at is None else list(at)
    if at is not None:
        raise ValueError("give the place of the sections as a voxel (at) or in mm (slices), not both")
    if affine is None:
        raise ValueError("slices are in mm of the world: give the affine, too")
    return voxel_at(slices, affine, scan.shape, "the scan")


def section_voxel(scan: np.ndarray, heatmaps: Mapping[str, np.ndarray]) -> list[int]:
    """Return the voxel to cut at: where the first map is strongest, else the scan's centre of mass."""
    first = next(iter(heatmaps.values()), None)
    if first is None or not np.any(first):
        return centre_of_mass(scan)
    return strongest_voxel(first, scan != 0)


def strongest_voxel(heatmap: np.ndarray, inside: np.ndarray) -> list[int]:
    """Return the voxel where a map is strongest.

    Absolute values are smoothed first, so that no single voxel decides. If several voxels are equally
    strong, the one nearest to their centre is returned.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``[D, H, W]``.
    inside : numpy.ndarray
        bool ``[D, H, W]``, such as the brain. Voxels outside count only if the map is 0 everywhere inside.
    """
    from scipy.ndimage import gaussian_filter

    magnitude = np.abs(heatmap).astype(np.float64)
    counted = inside if magnitude[inside].any() else np.ones_like(inside)
    smooth = gaussian_filter(np.where(counted, magnitude, 0.0), _NEIGHBOURHOOD, mode="constant")
    strength = np.where(counted, smooth, 0.0)
    highest = np.argwhere(strength >= strength.max() * (1 - _SAME))
    nearest = ((highest - highest.mean(0)) ** 2).sum(1).argmin()
    return [int(place) for place in highest[nearest]]


def centre_of_mass(scan: np.ndarray) -> list[int]:
    """Return the voxel nearest to the centre of mass of a scan's absolute values."""
    mass = np.abs(scan).astype(np.float64)
    total = mass.sum()
    centre = []
    for axis, n in enumerate(scan.shape):
        profile = mass.sum(axis=tuple(a for a in range(3) if a != axis))
        at = float((profile * np.arange(n)).sum() / total) if total > 0 else (n - 1) / 2
        centre.append(round(at))
    return centre


def colour_bar(figure: Figure, overlay: Any, scale: ColourScale, unit: str = "", **place: Any) -> None:
    """Draw the colour bar of a heatmap, labelled with the meaning of its ends and the unit."""
    bar = figure.colorbar(overlay, **place)
    bar.set_label("\n".join(text for text in (scale.words, unit) if text), fontsize=7, parse_math=False)
    bar.ax.tick_params(labelsize=7)


def cut(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Return one section of a volume ``[D, H, W]`` or of colours ``[D, H, W, 3]``, ready for ``imshow``."""
    return np.take(volume, index, axis=axis).swapaxes(0, 1)


def show_scan(picture: Axes, scan: np.ndarray, axis: int, index: int, spacing: Sequence[float]) -> float:
    """Draw a section in grey; return its aspect ratio (height of a pixel over its width)."""
    across, up = (s for a, s in enumerate(spacing) if a != axis)
    top = float(np.percentile(scan, 99.8)) or 1.0
    picture.imshow(
        cut(scan, axis, index), cmap="gray", vmin=0, vmax=top, origin="lower", aspect=up / across
    )
    return up / across


def show_heatmap(
    picture: Axes, heatmap: np.ndarray, axis: int, index: int, scale: ColourScale, aspect: float
) -> Any:
    """Draw a section of a heatmap, weak values transparent; return the image for the colour bar."""
    section = cut(heatmap, axis, index)
    return picture.imshow(
        section,
        cmap=scale.colormap(),
        vmin=scale.bottom,
        vmax=scale.top,
        alpha=scale.opacity(section) * 0.85,
        origin="lower",
        aspect=aspect,
    )


def label_sides(picture: Axes, left: str, right: str) -> None:
    """Write the side letters into a section, and remove its ticks."""
    picture.set_xticks([])
    picture.set_yticks([])
    for x, letter in ((0.03, left), (0.97, right)):
        picture.text(
            x, 0.5, letter, transform=picture.transAxes, color="white", fontsize=8, ha="center", va="center"
        )
