"""Still figure of group analyses: sections of the difference, and effect sizes of regions."""

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.files import replacing
from pyadx.report.colours import ColourScale, colour_scale, sign_colours, unit_colour
from pyadx.report.group_sections import GroupRegion
from pyadx.report.markup import shortened
from pyadx.report.panels import (
    SECTIONS,
    check_figures_possible,
    colour_bar,
    label_sides,
    show_heatmap,
    show_scan,
    voxel_sizes,
)
from pyadx.report.steering import caption, section_title

_DPI = 150
_MOST = 12  # largest number of regions with bars
_LETTERS, _LINE = 30, 120  # most characters of a region's name, and of a line of text below a row


@dataclass(frozen=True, eq=False)
class GroupFigureRow:
    """One analysis, drawn as one row of the figure.

    Attributes
    ----------
    name : str
        Name of the maps, such as the method.
    background, difference : numpy.ndarray
        Anatomical image and difference of the groups' means, ``[D, H, W]`` in canonical (RAS+) axis order.
    part : numpy.ndarray
        The difference, set to 0 where it is not shown.
    affine : numpy.ndarray
        Voxel-to-world matrix ``[4, 4]`` of these volumes, mm.
    at : sequence of int
        Voxel where the sections are cut.
    groups : tuple of str
        Names of the groups. The difference is the first minus the second.
    regions : sequence of GroupRegion
        Regions, the smallest q first; empty without an atlas.
    words : str
        Text below the row: numbers of subjects, findings, and findings of the controls.
    masked : bool
        Whether the difference is shown inside a mask only.
    """

    name: str
    background: np.ndarray
    difference: np.ndarray
    part: np.ndarray
    affine: np.ndarray
    at: Sequence[int]
    groups: tuple[str, str]
    regions: Sequence[GroupRegion]
    words: str
    masked: bool = False


def save_group_figure(
    path: str | os.PathLike[str], rows: Sequence[GroupFigureRow], title: str, alpha: float = 0.05
) -> None:
    """Draw one row per analysis: three sections of the difference, and a bar of Hedges' g for each region.

    Regions with q below ``alpha`` have filled bars, all others hollow ones.

    Parameters
    ----------
    path : path
        PNG or PDF file. It appears complete or not at all.
    rows : sequence of GroupFigureRow
        At least one analysis.
    title : str
        Title of the figure.
    alpha : float
        Level of q.

    Raises
    ------
    ValueError
        If Matplotlib is not installed.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.0, 3.4 * len(rows) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, parse_math=False)
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for row, part in zip(rows, parts, strict=True):
        axes = part.subplots(1, 5, width_ratios=[1.0, 1.0, 1.0, 0.04, 1.5])
        _sections(figure, row, axes[:4])
        _bars(row, axes[4], alpha)
        part.supxlabel(textwrap.fill(row.words, _LINE), fontsize=9, parse_math=False)
    beneath = caption(
        "the maps' grid, axes reoriented to right, anterior, superior", world=True, masked=rows[0].masked
    )
    figure.supxlabel(beneath, fontsize=7, color="0.35")
    path = Path(path)
    with replacing(path) as (partial,):
        figure.savefig(partial, dpi=_DPI, facecolor="white", format=path.suffix[1:].lower())


def _sections(figure: Any, row: GroupFigureRow, axes: Sequence[Any]) -> None:
    found = colour_scale(row.difference)
    first, second = row.groups
    scale = ColourScale(True, found.top, f"more in {second}", f"more in {first}")
    overlay = None
    for (section, axis, left, right), picture in zip(SECTIONS, axes[:3], strict=True):
        aspect = show_scan(picture, row.background, axis, row.at[axis], voxel_sizes(row.affine))
        overlay = show_heatmap(picture, row.part, axis, row.at[axis], scale, aspect)
        label_sides(picture, left, right)
        picture.set_title(section_title(section, axis, row.at, row.affine), fontsize=9)
    axes[0].set_ylabel(row.name, fontsize=10, parse_math=False)
    colour_bar(figure, overlay, scale, cax=axes[3])


def _bars(row: GroupFigureRow, axes: Any, alpha: float) -> None:
    shown = [one for one in row.regions if one.g is not None][:_MOST]
    if not shown:
        axes.set_axis_off()
        return
    negative, positive = map(unit_colour, sign_colours())
    for place, one in enumerate(shown):
        colour = negative if (one.g or 0.0) < 0 else positive
        full = one.q is not None and one.q < alpha
        axes.barh(place, one.g, height=0.66, color=colour if full else "none", edgecolor=colour)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [shortened(one.name, _LETTERS) for one in shown], parse_math=False)
    axes.tick_params("y", length=0)
    axes.tick_params(labelsize=8)
    axes.invert_yaxis()
    first, second = row.groups
    axes.set_xlabel(f"Hedges' g, {first} - {second}; filled: q < {alpha:g}", fontsize=8, parse_math=False)
    more = len(row.regions) - len(shown)
    if more:
        axes.set_title(f"{more} more regions", fontsize=8, loc="right")
