"""All methods side by side on one scan (paper, Figure 2)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.files import replacing
from pyadx.report.panels import SECTIONS, centre_of_mass, cut
from pyadx.report.precision_recall import REGION_COLOURS

_PERCENTILE = 99.5


def save_comparison(
    path: str | os.PathLike[str],
    scan: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    regions: Mapping[str, np.ndarray],
    title: str,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    at: Sequence[int] | None = None,
) -> None:
    """Draw the scan with its regions and every heatmap, a column each, in three sections.

    Methods differ in units, so every map is shown from 0 to its own 99.5th percentile of non-zero values,
    on one scale for all columns. Regions are outlined in every panel.

    Parameters
    ----------
    path : path
        PNG or PDF (300 dpi); written beside it first and then renamed.
    scan : numpy.ndarray
        ``[D, H, W]`` in canonical (RAS+) axis order.
    heatmaps : mapping
        Title to ``[D, H, W]`` on the same voxels.
    regions : mapping
        Name to bool ``[D, H, W]``; those with a colour of their own are outlined.
    title : str
        Written above the figure.
    spacing : sequence of float
        Voxel size in mm along each axis.
    at : sequence of int, optional
        Voxel that the sections cut; the scan's centre of mass without it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns: dict[str, np.ndarray | None] = {"scan": None, **heatmaps}
    figure = Figure(figsize=(1.55 * len(columns) + 0.5, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(len(SECTIONS), len(columns), squeeze=False)
    centre = centre_of_mass(scan) if at is None else list(at)
    top = float(np.percentile(scan, 99.8)) or 1.0
    overlay: Any = None
    for (name, heatmap), column in zip(columns.items(), axes.T, strict=True):
        scaled = None if heatmap is None else _scaled(heatmap)
        for (section, axis, _, _), picture in zip(SECTIONS, column, strict=True):
            across, up = (s for a, s in enumerate(spacing) if a != axis)
            shared: dict[str, Any] = {"origin": "lower", "aspect": up / across}
            picture.imshow(cut(scan, axis, centre[axis]), cmap="gray", vmin=0, vmax=top, **shared)
            if scaled is not None:
                values = cut(scaled, axis, centre[axis])
                overlay = picture.imshow(
                    values, cmap="inferno", vmin=0, vmax=1, alpha=np.clip(values, 0, 1) * 0.9, **shared
                )
            _outline(picture, regions, axis, centre[axis])
            picture.set_xticks([])
            picture.set_yticks([])
            if column is axes.T[0]:
                picture.set_ylabel(section, fontsize=9)
        column[0].set_title(name.replace(", ", "\n"), fontsize=7.5)
    if overlay is not None:
        bar = figure.colorbar(overlay, ax=axes, fraction=0.012, pad=0.005)
        bar.set_label("share of the map's 99.5th percentile", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    drawn = [name for name in regions if name in REGION_COLOURS]
    handles = [Line2D([], [], color=_colour(name), label=name) for name in drawn]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    with replacing(Path(path)) as (partial,):
        kind = Path(path).suffix[1:].lower() or "png"
        figure.savefig(partial, dpi=300, facecolor="white", format=kind)


def _scaled(heatmap: np.ndarray) -> np.ndarray:
    values = np.abs(heatmap)
    positive = values[values > 0]
    return values / (float(np.percentile(positive, _PERCENTILE)) if positive.size else 1.0)


def _outline(picture: Any, regions: Mapping[str, np.ndarray], axis: int, index: int) -> None:
    for name, mask in regions.items():
        section = cut(mask, axis, index)
        if name in REGION_COLOURS and section.any() and not section.all():
            picture.contour(section, levels=[0.5], colors=[_colour(name)], linewidths=0.4)


def _colour(region: str) -> tuple[float, float, float]:
    red, green, blue = REGION_COLOURS[region]
    return red / 255, green / 255, blue / 255
