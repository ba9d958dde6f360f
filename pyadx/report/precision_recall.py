"""Precision-recall curves, one panel per region (paper, Figure 3)."""

import colorsys
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pyadx.evaluation.curves import PrecisionRecall
from pyadx.files import replacing
from pyadx.report.panels import check_figures_possible

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_DASHES = ("-", "--", ":")
REGION_COLOURS = {"cortex": (86, 180, 233), "ventricle": (0, 158, 115), "hippocampus": (230, 159, 0)}


def region_colours(names: Iterable[str]) -> list[tuple[int, int, int]]:
    """Return an RGB colour, 0 to 255, for every region: fixed for the paper's, distinct hues for others."""
    found = []
    for place, name in enumerate(names):
        # Golden-ratio steps around the colour wheel keep any number of hues apart.
        mixed = colorsys.hsv_to_rgb(place * 0.618034 % 1, 0.65, 0.95)
        red, green, blue = (round(255 * part) for part in mixed)
        found.append(REGION_COLOURS.get(name, (red, green, blue)))
    return found


def save_precision_recall(
    path: str | os.PathLike[str], curves: Mapping[str, Mapping[str, PrecisionRecall]], title: str
) -> None:
    """Draw precision-recall curves, one panel per region and one line per method.

    A dashed line marks the prevalence, which is the precision of a random map.

    Parameters
    ----------
    path : path
        PNG or PDF file. It appears complete or not at all.
    curves : mapping
        Method to region to curve. Every method needs the same regions.
    title : str
        Title of the figure.

    Raises
    ------
    ValueError
        If Matplotlib is not installed.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    regions = list(next(iter(curves.values())))
    figure = Figure(figsize=(3.4 * len(regions), 4.0 + 0.16 * len(curves)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, len(regions), squeeze=False)[0]
    for picture, region in zip(axes, regions, strict=True):
        for i, (method, own) in enumerate(curves.items()):
            recall, precision = own[region].thinned()
            label = f"{method}, AP {own[region].average_precision:.3f}"
            colour, dash = PALETTE[i % len(PALETTE)], _DASHES[i // len(PALETTE) % len(_DASHES)]
            picture.plot(recall, precision, dash, color=colour, linewidth=1.2, label=label)
        chance = next(iter(curves.values()))[region].prevalence
        picture.axhline(chance, color="0.6", linewidth=0.8, linestyle="--", label=f"chance {chance:.3f}")
        picture.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
        picture.set_title(region, fontsize=10)
        picture.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.17), frameon=False)
    with replacing(Path(path)) as (partial,):
        figure.savefig(partial, dpi=300, facecolor="white", format=Path(path).suffix[1:].lower() or "png")
