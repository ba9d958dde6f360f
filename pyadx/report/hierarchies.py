"""Still figures of hierarchies: several levels side by side, in axial, sagittal and coronal sections."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.files import replacing
from pyadx.report.panels import SECTIONS, centre_of_mass, check_figures_possible, cut
from pyadx.segmentation import Hierarchy

_DPI = 150
_COLUMNS = 5  # largest number of levels shown, next to the scan and the contour map
_GOLDEN = 0.6180339887  # multiples of the golden ratio modulo 1 are spread evenly; used for hues


def save_hierarchy_panels(
    path: str | os.PathLike[str],
    scan: np.ndarray,
    hierarchy: Hierarchy,
    title: str,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> None:
    """Draw the scan, its contour map (UCM), and the coloured regions of several levels.

    Parameters
    ----------
    path : path
        PNG or PDF file. It appears complete or not at all.
    scan : ndarray
        ``[D, H, W]`` in canonical (RAS+) axis order.
    hierarchy : Hierarchy
        Hierarchy of the same voxels.
    title : str
        Title of the figure.
    spacing : tuple of float
        Voxel size in mm along each axis.

    Raises
    ------
    ValueError
        If Matplotlib is not installed.
    """
    check_figures_possible()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = np.unique(np.linspace(0, len(hierarchy.levels) - 1, _COLUMNS).round().astype(int))
    contours = np.log1p(hierarchy.ucm().voxels / _scale(hierarchy))
    columns: list[tuple[str, np.ndarray, dict[str, Any]]] = [
        ("scan", scan, {"cmap": "gray", "vmin": 0, "vmax": float(np.percentile(scan, 99.8)) or 1.0}),
        ("contours", contours, {"cmap": "magma", "vmin": 0, "vmax": float(contours.max()) or 1.0}),
    ]
    for level in shown:
        labels = hierarchy.labels(int(level))
        columns.append((f"{hierarchy.levels[level]} regions", _region_colours(scan, labels), {}))

    figure = Figure(figsize=(1.9 * len(columns), 2.1 * len(SECTIONS) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(SECTIONS), len(columns), squeeze=False)
    centre = centre_of_mass(scan)
    for (section, axis, _, _), row in zip(SECTIONS, axes, strict=True):
        across, up = (s for a, s in enumerate(spacing) if a != axis)
        for (name, volume, style), picture in zip(columns, row, strict=True):
            picture.imshow(cut(volume, axis, centre[axis]), origin="lower", aspect=up / across, **style)
            picture.set_xticks([])
            picture.set_yticks([])
            if section == SECTIONS[0][0]:
                picture.set_title(name, fontsize=9)
        row[0].set_ylabel(section, fontsize=9)
    with replacing(Path(path)) as (partial,):
        figure.savefig(partial, dpi=_DPI, facecolor="white", format=Path(path).suffix[1:].lower())


def _scale(hierarchy: Hierarchy) -> float:
    """Return the median positive altitude, the unit of the logarithmic scale."""
    merges = hierarchy.altitude[hierarchy.n_leaves :]
    positive = merges[(merges > 0) & np.isfinite(merges)]
    return float(np.median(positive)) if positive.size else 1.0


def _region_colours(scan: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Colour every region by its own hue and the scan's brightness: RGB ``[D, H, W, 3]``, 0 to 1."""
    from matplotlib.colors import hsv_to_rgb

    top = float(np.percentile(scan, 99.8)) or 1.0
    brightness = 0.25 + 0.75 * np.clip(scan / top, 0, 1)
    hues = labels * _GOLDEN % 1.0  # consecutive labels get distant hues
    colours = hsv_to_rgb(np.stack([hues, np.full(labels.shape, 0.7), brightness], axis=-1))
    return np.where((labels > 0)[..., None], colours, 0.0)
