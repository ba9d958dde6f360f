"""Still figures of a scan and heatmaps in the scan's own axis order, reoriented to canonical axes."""

import os
from collections.abc import Sequence

import numpy as np

from pyadx.data.grids import canonical_axes
from pyadx.data.scans import Scan
from pyadx.report.page_parts import PageHeatmap
from pyadx.report.panels import save_panels
from pyadx.report.steering import Threshold


def save_scan_panels(
    path: str | os.PathLike[str],
    scan: Scan,
    heatmaps: Sequence[PageHeatmap],
    title: str,
    *,
    grid: str = "the scan's grid",
    slices: Sequence[float] | None = None,
    threshold: Threshold | None = None,
    mask: np.ndarray | None = None,
) -> None:
    """Draw heatmaps over a scan with any axis order; see `save_panels`.

    Parameters
    ----------
    path : path
        PNG or PDF file. It appears complete or not at all.
    scan : Scan
        Background image.
    heatmaps : sequence of PageHeatmap
        Heatmaps on the scan's voxels, one row each.
    title : str
        Title of the figure.
    grid : str
        Name of the voxel grid of ``scan`` in the caption.
    slices, threshold : optional
        As for `save_panels`.
    mask : numpy.ndarray, optional
        bool ``[I, J, K]`` on the voxels of ``scan``: maps are shown inside it only.

    Raises
    ------
    ValueError
        As `save_panels`.
    """
    from nibabel.orientations import apply_orientation

    turn, affine = canonical_axes(scan.affine, scan.data.shape)
    save_panels(
        path,
        apply_orientation(scan.data, turn),
        {heat.name: apply_orientation(heat.values, turn) for heat in heatmaps},
        title,
        facts={heat.name: heat.facts for heat in heatmaps},
        grid=f"{grid}, axes reoriented to right, anterior, superior",
        affine=affine,
        slices=slices,
        threshold=threshold,
        mask=None if mask is None else apply_orientation(mask, turn),
    )
