"""``pyadx segment``: one scan in, nested label volumes out."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyadx.commands.devices import software
from pyadx.commands.explaining.provenance import orientation_facts
from pyadx.commands.figures import check_figure_file
from pyadx.data.flatness import refuse_flat
from pyadx.data.grids import canonical_axes
from pyadx.data.heatmaps import check_heatmap_path, image_on_scan, sidecar_path
from pyadx.data.scans import Scan, read_scan, read_volume
from pyadx.files import check_output_file, replacing, together
from pyadx.report.hierarchies import save_hierarchy_panels
from pyadx.report.panels import voxel_sizes
from pyadx.segmentation import Hierarchy, ucm
from pyadx.segmentation.options import check_options


@dataclass(frozen=True)
class SegmentRequest:
    """All inputs and options of a hierarchy; ``options`` holds the user's arguments of `ucm`."""

    scan: Path
    out: Path
    options: dict[str, Any]
    mask: Path | None = None
    hierarchy: Path | None = None
    figure: Path | None = None
    overwrite: bool = False
    progress: bool = True
    orientation: str = "auto"


def run_segment(request: SegmentRequest) -> tuple[Hierarchy, dict[str, Any]]:
    """Segment one scan file; write label volumes, a sidecar and, if asked, the hierarchy and a figure.

    Raises
    ------
    ValueError, TypeError
        If any input does not fit. Nothing is written after an error.
    """
    check_options(**request.options)
    out = check_heatmap_path(request.out, overwrite=request.overwrite)
    if request.figure is not None:
        check_figure_file(request.figure, overwrite=request.overwrite)
    if request.hierarchy is not None:
        if request.hierarchy.suffix != ".npz":
            raise ValueError(f"{request.hierarchy}: a hierarchy is written as .npz")
        check_output_file(request.hierarchy, overwrite=request.overwrite)
    scan = read_scan(request.scan, orientation=request.orientation)
    inputs = [scan.path] if request.mask is None else [scan.path, request.mask]
    if out.exists() and any(out.samefile(path) for path in inputs):
        raise ValueError(f"{out}: is an input itself; choose another name for the labels")
    mask = None if request.mask is None else _read_mask(request.mask, scan)
    spacing = tuple(float(n) for n in np.linalg.norm(scan.affine[:3, :3], axis=0))
    started = time.perf_counter()
    with ExitStack() as stack:
        progress = _steps(stack) if request.progress else None
        try:
            hierarchy = ucm(scan.data, mask, spacing, progress=progress, **request.options)
        except ValueError as error:
            raise ValueError(f"{scan.path}: {error}") from None
    seconds = time.perf_counter() - started
    facts = {
        "method": "3D ultrametric contour map",
        "parameters": request.options,
        "scan": {
            "file": scan.path.name,
            "shape": list(scan.data.shape),
            "spacing_mm": list(spacing),
            **orientation_facts(scan),
        },
        "mask": None if request.mask is None else request.mask.name,
        "leaves": hierarchy.n_leaves,
        "regions_per_level": hierarchy.levels.tolist(),
        "distinct_regions": len(hierarchy.regions),
        "labels": "4th axis: levels, finest first; 0 is outside",
        "seconds": round(seconds, 4),
        "software": software(torch.device("cpu")),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": "Research software, not a medical device.",
    }
    with together():
        if request.figure is not None:
            _draw(request.figure, scan, hierarchy)
        if request.hierarchy is not None:
            hierarchy.save(request.hierarchy)
        _save_labels(out, hierarchy, scan)
        with replacing(sidecar_path(out)) as (partial,):
            partial.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return hierarchy, facts


def _read_mask(path: Path, scan: Scan) -> np.ndarray:
    mask = read_volume(path)
    refuse_flat(path, mask.data, "mask")
    if mask.data.shape != scan.data.shape:
        raise ValueError(f"{path}: has shape {mask.data.shape}, the scan {scan.data.shape}")
    if not mask.lies_on(scan):
        raise ValueError(f"{path}: is not in the scan's position (another affine); resample it first")
    return mask.data


def _save_labels(path: Path, hierarchy: Hierarchy, scan: Scan) -> None:
    """Write the label volumes of all levels with the scan's affine."""
    import nibabel as nib

    image = image_on_scan(hierarchy.label_stack(), scan, "pyadx 3D ultrametric contour map")
    image.header.set_intent("label")
    with replacing(path) as (partial,):
        nib.save(image, partial)


def _draw(path: Path, scan: Scan, hierarchy: Hierarchy) -> None:
    """Draw in canonical axes, independent of the file's axes."""
    import nibabel as nib

    turn, affine = canonical_axes(scan.affine, scan.data.shape)
    data, leaves = (nib.apply_orientation(volume, turn) for volume in (scan.data, hierarchy.leaves))
    turned = replace(hierarchy, leaves=leaves)
    save_hierarchy_panels(path, data, turned, scan.path.name, voxel_sizes(affine))


def _steps(stack: ExitStack) -> Any:
    """Return a progress callable that shows one bar per step."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def tell(step: str, done: float) -> None:
        if not tasks:  # not earlier, so that an error before the first step prints without a bar
            stack.enter_context(bars)
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=1.0)
        bars.update(tasks[step], completed=done)

    return tell
