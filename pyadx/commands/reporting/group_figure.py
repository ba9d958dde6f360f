"""``pyadx report --group ... -o group.png``: group analyses as one still figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyadx.commands.reporting.group_results import GroupResults
from pyadx.data.grids import canonical_axes
from pyadx.data.scans import Scan
from pyadx.report.group_figures import GroupFigureRow, save_group_figure
from pyadx.report.panels import strongest_voxel


def group_figure_row(name: str, results: GroupResults, beneath: Scan) -> GroupFigureRow:
    """Read what a row of the figure shows, turned to canonical axes.

    Parameters
    ----------
    name : str
        What the maps are.
    results : GroupResults
        The analysis.
    beneath : Scan
        What lies beneath, on the grid of the maps.
    """
    from nibabel.orientations import apply_orientation

    difference = results.contrast("difference")
    turn, spacing = canonical_axes(difference.affine)
    turned, background = (apply_orientation(one.data, turn) for one in (difference, beneath))
    # The strongest t is where the finding is; a difference may be large where maps scatter.
    strongest = apply_orientation(np.abs(results.contrast("t").data), turn)
    counts = ", ".join(f"{count} {group}" for group, count in results.counts.items())
    return GroupFigureRow(
        name,
        background,
        turned,
        spacing,
        strongest_voxel(strongest, background != 0),
        results.groups,
        results.regions(),
        # The first two sentences say who and how; names and numbers are in the figure already.
        " ".join((f"{counts}.", *results.findings[2:])),
    )


def draw_group_figure(
    path: Path, rows: Sequence[tuple[str, GroupResults, Scan]], title: str, alpha: float = 0.05
) -> None:
    """Write the figure of one or several analyses."""
    save_group_figure(path, [group_figure_row(*row) for row in rows], title, alpha)
