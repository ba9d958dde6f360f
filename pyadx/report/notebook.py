"""Interactive view of a scan and its heatmaps in a notebook."""

import html
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from pyadx.data.scans import Scan, read_scan, read_volume
from pyadx.report.page import html_page
from pyadx.report.page_parts import PageHeatmap
from pyadx.report.panels import check_figures_possible
from pyadx.report.sidecars import read_facts

Volume = Scan | Tensor | np.ndarray | str | os.PathLike[str]


class View:
    """A report page that a notebook displays; `show` returns it.

    Parameters
    ----------
    page : str
        HTML of the whole page, also kept as an attribute.
    height : int
        Height of the frame in pixels.
    """

    def __init__(self, page: str, height: int) -> None:
        self.page, self.height = page, height

    def _repr_html_(self) -> str:
        allowed = "allow-scripts allow-downloads"  # downloads are for the tables of regions
        frame = f'width="100%" height="{self.height}" style="border:0" sandbox="{allowed}"'
        return f'<iframe {frame} srcdoc="{html.escape(self.page)}"></iframe>'


def show(
    scan: Volume,
    heatmap: Volume | Mapping[str, Volume],
    *,
    spacing: float | tuple[float, float, float] = 2.0,
    title: str = "",
    height: int = 860,
    target: str = "",
    classes: Sequence[str] = (),
) -> View:
    """Display a scan and heatmaps interactively in a notebook.

    A heatmap with negative values has a diverging colour map centred on 0. The meaning of the sign is read
    from the sidecar of a heatmap file. For arrays, state it with ``target`` and ``classes``.

    Parameters
    ----------
    scan : Scan, Tensor, numpy.ndarray or path
        A scan file, or a volume as explainers take it: ``[D, H, W]``, or with leading axes of length 1.
    heatmap : Scan, Tensor, numpy.ndarray, path, or mapping
        One heatmap on the same voxels, or a mapping of names to heatmaps.
    spacing : float or tuple of float
        Voxel size in mm of a scan given as an array. Its axes are taken as right, anterior, superior.
    title : str
        Heading. By default the name of the scan's file.
    height : int
        Height of the view in pixels.
    target : str
        Name of the explained class.
    classes : sequence of str
        Names of all classes. With two classes, negative values speak for the other one.

    Returns
    -------
    View
        Jupyter displays it when it is the last expression of a cell.

    Raises
    ------
    ValueError
        If shapes differ, a heatmap is not finite, scan and heatmap files have different affines, or
        Matplotlib is not installed.
    """
    check_figures_possible()  # the page uses Matplotlib's colour maps
    beneath = _scan(scan, spacing)
    several = heatmap if isinstance(heatmap, Mapping) else {"heatmap": heatmap}
    given: dict[str, Any] = {"target": {"name": target}, "classes": list(classes)} if target else {}
    rows = []
    for name, values in several.items():
        heat = _scan(values, spacing, read_volume)
        if _has_place(scan) and _has_place(values) and not heat.lies_on(beneath):
            raise ValueError(
                f"{name}: is not on the scan's voxel grid (its shape or affine differs); resample it first"
            )
        rows.append(PageHeatmap(name, heat.data, {**_facts(values), **given}))
    return View(html_page(beneath, rows, title=title or beneath.path.name, panels=False), height)


def _facts(volume: Volume) -> dict[str, Any]:
    return read_facts(Path(volume)) if isinstance(volume, str | os.PathLike) else {}


def _has_place(volume: Volume) -> bool:
    return isinstance(volume, Scan | str | os.PathLike)


def _scan(
    volume: Volume, spacing: float | tuple[float, float, float], read: Callable[..., Scan] = read_scan
) -> Scan:
    if isinstance(volume, Scan):
        return volume
    if isinstance(volume, str | os.PathLike):
        return read(volume)
    values: Any = (
        volume.detach().cpu().float().numpy() if isinstance(volume, Tensor) else np.asarray(volume)
    )
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3:
        raise ValueError(f"expected a single volume [D,H,W], got shape {values.shape}")
    affine = np.diag([*np.broadcast_to(spacing, 3).tolist(), 1.0])
    return Scan(Path("scan"), SimpleNamespace(affine=affine), values.astype(np.float32, copy=False))
