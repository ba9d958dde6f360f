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
    """Read what a row of the figure shows, turned to canonical axes.

    Parameters
    ----------
    name : str
        What the maps are.
    results : GroupResults
        The analysis.
    beneath : Scan
        What lies beneath, on the grid of the maps.
    slices : sequence of float, optional
        x, y, z in mm of the maps' world, which the sections cut; by default where t is strongest.
    threshold, mask : optional
        Where the difference is shown, as `pyadx.report.steering.shown_part` takes them.
    """
    from nibabel.orientations import apply_orientation

    difference = results.contrast("difference")
    turn, affine = canonical_axes(difference.affine, difference.data.shape)
    part, words = shown_part(difference.data, threshold, mask, name)
    turned, part, background = (apply_orientation(v, turn) for v in (difference.data, part, beneath.data))
    if slices is None:
        # The strongest t is where the finding is; a difference may be large where maps scatter.
        strongest = apply_orientation(np.abs(results.contrast("t").data), turn)
        at = strongest_voxel(np.where(part != 0, strongest, 0), background != 0)
    else:
        at = voxel_at(slices, affine, turned.shape, "the maps")
    counts = ", ".join(f"{count} {group}" for group, count in results.counts.items())
    # The first two sentences say who and how; names and numbers are in the figure already.
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
    """Write the figure of one or several analyses, which all lie on the voxels of the mask."""
    drawn = [group_figure_row(*row, slices, threshold, mask) for row in rows]
    save_group_figure(path, drawn, title, alpha)
