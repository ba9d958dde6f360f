"""``pyadx report --group ... -o group.png``: group analyses as one still figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyadx.commands.reporting.group_results import GroupResults
from pyadx.data.grids import canonical_axes
from pyadx.data.scans import Scan
from pyadx.report.group_figures import GroupFigureRow, save_group_figure
from pyadx.report.panels import strongest_voxel
from pyadx.report.steering import Threshold, shown_part, voxel_at


def group_figure_row(
    name: str,
    results: GroupResults,
    beneath: Scan,
    slices: Sequence[float] | None = None,
    threshold: Threshold | None = None,
    mask: np.ndarray | None = None,
) -> GroupFigureRow:
    """Read the contents of a row of the figure, in canonical axes.

    Parameters
    ----------
    name : str
        Title of the row.
    results : GroupResults
        The analysis.
    beneath : Scan
        Background image on the grid of the maps.
    slices : sequence of float, optional
        x, y, z of the sections, in mm of the maps' world; by default where t is strongest.
    threshold, mask : optional
        Where the difference is shown; see `pyadx.report.steering.shown_part`.
    """
    from nibabel.orientations import apply_orientation

    difference = results.contrast("difference")
    turn, affine = canonical_axes(difference.affine, difference.data.shape)
    part, words = shown_part(difference.data, threshold, mask, name)
    turned, part, background = (apply_orientation(v, turn) for v in (difference.data, part, beneath.data))
    if slices is None:
        # t is strongest at the finding; a difference can be large just because maps vary there.
        strongest = apply_orientation(np.abs(results.contrast("t").data), turn)
        at = strongest_voxel(np.where(part != 0, strongest, 0), background != 0)
    else:
        at = voxel_at(slices, affine, turned.shape, "the maps")
    counts = ", ".join(f"{count} {group}" for group, count in results.counts.items())
    # The first two sentences repeat names and numbers that the figure shows already.
    said = [f"{counts}.", *results.findings[2:], *([f"Shown where {words}."] if words else [])]
    return GroupFigureRow(
        name,
        background,
        turned,
        part,
        affine,
        at,
        results.groups,
        results.regions(),
        " ".join(said),
        mask is not None,
    )


def draw_group_figure(
    path: Path,
    rows: Sequence[tuple[str, GroupResults, Scan]],
    title: str,
    alpha: float = 0.05,
    *,
    slices: Sequence[float] | None = None,
    threshold: Threshold | None = None,
    mask: np.ndarray | None = None,
) -> None:
    """Write the figure of one or several analyses, all on the voxels of the mask."""
    drawn = [group_figure_row(*row, slices, threshold, mask) for row in rows]
    save_group_figure(path, drawn, title, alpha)
