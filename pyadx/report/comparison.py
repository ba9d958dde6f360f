"""All methods side by side on one scan (paper, Figure 2)."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.files import replacing
from pyadx.report.colours import ColourScale, colour_scale
from pyadx.report.panels import SECTIONS, centre_of_mass, check_figures_possible, colour_bar, cut
from pyadx.report.precision_recall import REGION_COLOURS
from pyadx.report.sidecars import approximation

_UNIT = "share of the map's 99.5th percentile"
_COLUMN_LETTERS = 24


def save_comparison(
    path: str | os.PathLike[str],
    scan: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    regions: Mapping[str, np.ndarray],
    title: str,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    at: Sequence[int] | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Draw the scan and every heatmap side by side, as columns of three sections with region outlines.

    Methods differ in units, so every map is divided by the 99.5th percentile of its non-zero absolute
    values. Maps without negative values share one colour bar. Signed maps share one that diverges from 0
    if their signs mean the same.

    Parameters
    ----------
    path : path
        PNG or PDF file (300 dpi). It appears complete or not at all.
    scan : numpy.ndarray
        ``[D, H, W]`` in canonical (RAS+) axis order.
    heatmaps : mapping
        Title to heatmap ``[D, H, W]`` on the same voxels.
    regions : mapping
        Region name to bool mask ``[D, H, W]``. Only regions with a colour in `REGION_COLOURS` are outlined.
    title : str
        Title of the figure.
    spacing : sequence of float
        Voxel size in mm along each axis.
    at : sequence of int, optional
        Voxel through which the sections are cut. By default the scan's centre of mass.
    facts : mapping, optional
        Title to the sidecar of the heatmap, for the meaning of signs and a note on approximations.

    Raises
    ------
    ValueError
        If Matplotlib is not installed.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns: dict[str, np.ndarray | None] = {"scan": None, **heatmaps}
    figure = Figure(figsize=(1.55 * len(columns) + 0.5, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10, parse_math=False)
    axes = figure.subplots(len(SECTIONS), len(columns), squeeze=False)
    centre = centre_of_mass(scan) if at is None else list(at)
    top = float(np.percentile(scan, 99.8)) or 1.0
    bars: dict[ColourScale, Any] = {}
    for (name, heatmap), column in zip(columns.items(), axes.T, strict=True):
        about = (facts or {}).get(name, {})
        scale = None if heatmap is None else colour_scale(heatmap, about)
        for (section, axis, _, _), picture in zip(SECTIONS, column, strict=True):
            across, up = (s for a, s in enumerate(spacing) if a != axis)
            shared: dict[str, Any] = {"origin": "lower", "aspect": up / across}
            picture.imshow(cut(scan, axis, centre[axis]), cmap="gray", vmin=0, vmax=top, **shared)
            if heatmap is not None and scale is not None:
                overlay = _show_share(picture, cut(heatmap, axis, centre[axis]), scale, shared)
                bars[replace(scale, top=1.0)] = overlay
            _outline(picture, regions, axis, centre[axis])
            picture.set_xticks([])
            picture.set_yticks([])
            if column is axes.T[0]:
                picture.set_ylabel(section, fontsize=9)
        column[0].set_title(_column_title(name, about), fontsize=7.5, parse_math=False)
    for scale, overlay in bars.items():
        colour_bar(figure, overlay, scale, unit=_UNIT, ax=axes, fraction=0.012, pad=0.005)
    drawn = [name for name in regions if name in REGION_COLOURS]
    handles = [Line2D([], [], color=_colour(name), label=name) for name in drawn]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    with replacing(Path(path)) as (partial,):
        kind = Path(path).suffix[1:].lower() or "png"
        figure.savefig(partial, dpi=300, facecolor="white", format=kind)


def _show_share(picture: Any, values: np.ndarray, scale: ColourScale, shared: Mapping[str, Any]) -> Any:
    share = values / scale.top
    bottom = -1 if scale.signed else 0
    alpha = scale.opacity(values) * 0.9
    return picture.imshow(share, cmap=scale.colormap(), vmin=bottom, vmax=1, alpha=alpha, **shared)


def _column_title(name: str, facts: Mapping[str, Any]) -> str:
    said = textwrap.fill(approximation(facts), _COLUMN_LETTERS)
    return "\n".join(part for part in (name.replace(", ", "\n"), said) if part)


def _outline(picture: Any, regions: Mapping[str, np.ndarray], axis: int, index: int) -> None:
    for name, mask in regions.items():
        section = cut(mask, axis, index)
        if name in REGION_COLOURS and section.any() and not section.all():
            picture.contour(section, levels=[0.5], colors=[_colour(name)], linewidths=0.4)


def _colour(region: str) -> tuple[float, float, float]:
    red, green, blue = REGION_COLOURS[region]
    return red / 255, green / 255, blue / 255
