"""Still figures of regions: bars of their values, and a matrix of the interactions of pairs."""

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.files import replacing
from pyadx.report.colours import sign_colormap, sign_colours, unit_colour
from pyadx.report.markup import shortened
from pyadx.report.panels import check_figures_possible
from pyadx.report.region_bars import SHOWN, completeness
from pyadx.report.region_reports import WHISKER, pairs_of, region_report
from pyadx.report.sidecars import mapping, sign_words

_LETTERS, _LINE = 40, 72  # most characters of a region's name, and of a line of text above the bars


def save_region_bars(
    path: str | os.PathLike[str],
    report: Mapping[str, Any],
    title: str,
    *,
    most: int = SHOWN,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Draw the values of regions as horizontal bars, the largest absolute value at the top.

    Whiskers extend 1.96 standard errors to either side. A diamond marks how far the score falls when only
    this region is filled. The regions of a `FlipReport` keep the order in which they were selected.

    Parameters
    ----------
    path : path
        PNG or PDF file (300 dpi). It appears complete or not at all.
    report : mapping
        The ``report`` entry of a sidecar, or what ``facts()`` of a `ShapleyReport` or `FlipReport` returns.
    title : str
        Title of the figure.
    most : int
        Largest number of regions drawn. The number of others is written above the bars.
    facts : mapping, optional
        The sidecar, for the meaning of the signs.

    Raises
    ------
    ValueError
        If the report has no regions, or Matplotlib is not installed.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = region_report(report)
    if known is None:
        raise ValueError("the report holds no regions with values, so there are no bars to draw")
    shown = known.regions[:most]
    figure = Figure(figsize=(6.4, 0.24 * len(shown) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10, parse_math=False)
    axes = figure.subplots()
    rows, values = np.arange(len(shown)), np.array([region.value for region in shown])
    negative, positive = map(unit_colour, sign_colours())
    axes.barh(rows, values, height=0.66, color=[negative if value < 0 else positive for value in values])
    errors = [np.nan if region.error is None else region.whisker for region in shown]
    if not np.isnan(errors).all():
        label = f"{WHISKER} standard errors"
        axes.errorbar(values, rows, xerr=errors, fmt="none", ecolor="0.1", capsize=2, lw=0.9, label=label)
    alone = [np.nan if region.alone is None else region.alone for region in shown]
    if not np.isnan(alone).all():
        axes.plot(alone, rows, "D", ms=3.5, mfc="none", mec="0.1", mew=0.8, label="filled alone")
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(rows, [shortened(region.name, _LETTERS) for region in shown], parse_math=False)
    axes.tick_params("y", length=0)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.set_xlabel(_below(known.shared, facts or {}), fontsize=8, parse_math=False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    more = len(known.regions) - len(shown)
    said = [completeness(known), f"{more} more regions are not shown." if more else ""]
    axes.set_title(
        "\n".join(textwrap.fill(text, _LINE) for text in said if text), fontsize=7, parse_math=False
    )
    with replacing(Path(path)) as (partial,):
        figure.savefig(partial, dpi=300, facecolor="white", format=Path(path).suffix[1:].lower() or "png")


def save_pair_matrix(path: str | os.PathLike[str], report: Mapping[str, Any], title: str) -> None:
    """Draw the interactions of pairs of regions as a matrix with numbers.

    Negative (blue): the two regions are redundant, so each can replace the other. Positive (red): the two
    are needed together.

    Parameters
    ----------
    path, title
        As in `save_region_bars`.
    report : mapping
        The ``report`` entry of a sidecar, or the result of ``facts()`` of a `ShapleyReport`.

    Raises
    ------
    ValueError
        If the report has no interactions of pairs, or Matplotlib is not installed.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = pairs_of(report)
    if pairs is None:
        raise ValueError("the report holds no interactions of pairs, so there is no matrix to draw")
    matrix = np.array([[np.nan if v is None else v for v in row] for row in pairs.matrix])
    limit = float(np.nanmax(np.abs(matrix), initial=0.0)) or 1.0
    side = 0.5 * len(matrix) + 2.4
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10, parse_math=False)
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap=sign_colormap(), vmin=-limit, vmax=limit)
    places, names = np.arange(len(matrix)), [shortened(name, _LETTERS) for name in pairs.names]
    axes.set_xticks(places, names, rotation=90, parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    axes.tick_params(length=0, labelsize=7)
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            ink = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(column, row, f"{value:.2g}", ha="center", va="center", fontsize=6, color=ink)
    bar = figure.colorbar(image, shrink=0.7)
    words = "interaction\nredundant \N{LEFTWARDS ARROW}   \N{RIGHTWARDS ARROW} needed together"
    bar.set_label(words, fontsize=7)
    bar.ax.tick_params(labelsize=7)
    with replacing(Path(path)) as (partial,):
        figure.savefig(partial, dpi=300, facecolor="white", format=Path(path).suffix[1:].lower() or "png")


def _below(shared: bool, facts: Mapping[str, Any]) -> str:
    what = "share of the change of the score" if shared else "change of the score"
    if not shared or not mapping(facts, "target"):
        return what
    low, high = sign_words(facts)
    return f"\N{LEFTWARDS ARROW} {low}    {what}    {high} \N{RIGHTWARDS ARROW}"
