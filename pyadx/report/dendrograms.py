"""Dendrograms of hierarchies, with merges coloured by the interaction of their parts."""

import os
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from pyadx.explainers.interactions import MergeInteractions
from pyadx.files import replacing
from pyadx.report.colours import sign_colormap
from pyadx.report.panels import check_figures_possible
from pyadx.segmentation import Hierarchy

Heights = Literal["level", "altitude"]
_PLAIN = "0.72"  # grey of merges whose interaction is not known


def save_dendrogram(
    path: str | os.PathLike[str],
    hierarchy: Hierarchy,
    interactions: MergeInteractions,
    title: str,
    *,
    heights: Heights = "level",
) -> None:
    """Draw the merge tree of a hierarchy. Colour and width of a merge show the interaction of its parts.

    The parent of a segment is the smallest other segment that contains it. If the coarsest level has
    several segments, the figure shows as many trees. Leaves keep the order of the hierarchy, so lines do
    not cross.

    Parameters
    ----------
    path : path
        PNG or PDF file (300 dpi). It appears complete or not at all.
    hierarchy : Hierarchy
        Hierarchy of segments.
    interactions : MergeInteractions
        Interactions of this hierarchy: with SA-3DUCM,
        ``explain.run(scan, target, hierarchy).reports[0].interactions``.
    title : str
        Title of the figure.
    heights : {"level", "altitude"}
        Height of a merge: the finest level at which the segment is whole, or the altitude of the merge.
        Unconnected segments merge at infinite altitude, drawn 10% above the highest finite one.

    Raises
    ------
    ValueError
        If the interactions are of another hierarchy, ``heights`` is unknown, or Matplotlib is missing.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    if heights not in get_args(Heights):
        raise ValueError(f"heights must be one of {', '.join(get_args(Heights))}, got {heights!r}")
    segments = [(low, high) for low, high in hierarchy.regions.tolist()]
    merges = dict(zip(map(tuple, interactions.regions.tolist()), interactions.values.tolist(), strict=True))
    if not merges.keys() <= set(segments):
        raise ValueError("the interactions hold segments that the hierarchy does not have")
    up = _levels(hierarchy) if heights == "level" else _altitudes(hierarchy)
    lines = _brackets(segments, dict(zip(segments, up.tolist(), strict=True)))
    top = max((abs(value) for value in merges.values()), default=0.0) or 1.0

    figure = Figure(figsize=(max(5.0, min(0.05 * hierarchy.n_leaves, 16.0)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10, parse_math=False)
    axes = figure.subplots()
    plain = [line for segment, own in lines.items() if segment not in merges for line in own]
    axes.add_collection(LineCollection(plain, colors=_PLAIN, linewidths=0.6))
    # Draw the strongest last, on top of the others.
    known = sorted((s for s in lines if s in merges), key=lambda segment: abs(merges[segment]))
    drawn = LineCollection([line for segment in known for line in lines[segment]], cmap=sign_colormap())
    strength = np.array([merges[segment] for segment in known for _ in lines[segment]])
    drawn.set_array(strength)
    drawn.set_linewidth(0.7 + 2 * np.abs(strength) / top)
    drawn.set_clim(-top, top)
    axes.add_collection(drawn)
    axes.autoscale_view()
    axes.set_xlabel("leaf", fontsize=8)
    axes.set_ylabel("level, 0 is the finest" if heights == "level" else "altitude", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, pad=0.01, fraction=0.03)
    bar.set_label(
        "interaction of the parts\n\N{LEFTWARDS ARROW} needed together    redundant \N{RIGHTWARDS ARROW}",
        fontsize=7,
    )
    bar.ax.tick_params(labelsize=7)
    with replacing(Path(path)) as (partial,):
        figure.savefig(partial, dpi=300, facecolor="white", format=Path(path).suffix[1:].lower() or "png")


Segment = tuple[int, int]
Line = list[tuple[float, float]]


def _brackets(segments: list[Segment], heights: dict[Segment, float]) -> dict[Segment, list[Line]]:
    """Return the lines of every segment that has parts: one down to each part, and one across."""
    parts: dict[Segment, list[Segment]] = {}
    above: list[Segment] = []
    for segment in sorted(segments, key=lambda one: (one[0], -one[1])):  # a segment precedes its parts
        while above and above[-1][1] <= segment[0]:
            above.pop()
        if above:
            parts.setdefault(above[-1], []).append(segment)
        above.append(segment)

    def middle(segment: Segment) -> float:
        return (segment[0] + segment[1] - 1) / 2

    lines: dict[Segment, list[Line]] = {}
    for segment, own in parts.items():
        height = heights[segment]
        down: list[Line] = [[(middle(part), heights[part]), (middle(part), height)] for part in own]
        xs = [middle(part) for part in own] + [middle(segment)]
        lines[segment] = [*down, [(min(xs), height), (max(xs), height)]]
    return lines


def _nodes(hierarchy: Hierarchy) -> np.ndarray:
    """Return the merge-tree node of every distinct segment, int64 ``[N]``."""
    place = {
        pair: i
        for i, pair in enumerate(zip(hierarchy.first.tolist(), hierarchy.last.tolist(), strict=True))
    }
    return np.array([place[low - 1, high - 1] for low, high in hierarchy.regions.tolist()], np.int64)


def _levels(hierarchy: Hierarchy) -> np.ndarray:
    """Return the finest level at which each distinct segment is whole.

    With R leaves, a level of K regions has made the nodes n < 2R - K.
    """
    counts = 2 * hierarchy.n_leaves - hierarchy.levels
    return np.searchsorted(counts, _nodes(hierarchy), "right").astype(np.float64)


def _altitudes(hierarchy: Hierarchy) -> np.ndarray:
    found = hierarchy.altitude[_nodes(hierarchy)].astype(np.float64)
    finite = found[np.isfinite(found)]
    highest = float(finite.max(initial=0.0)) or 1.0
    return np.where(np.isfinite(found), found, 1.1 * highest)
