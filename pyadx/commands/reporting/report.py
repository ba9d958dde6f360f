"""``pyadx report``: a scan and its heatmaps as one page that opens offline, or as a still figure."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.figures import FigureOptions, is_figure
from pyadx.commands.reporting.regions import FREESURFER, names_of, tell_names
from pyadx.data.flatness import flat_words, refuse_flat
from pyadx.data.regions import labels_on_scan, read_labels, regions_on_scan
from pyadx.data.scans import Scan, read_scan, read_volume
from pyadx.evaluation import PrecisionRecall, pooled_curves
from pyadx.explainers import methods
from pyadx.files import check_output_file
from pyadx.report.page import html_page, save_page
from pyadx.report.page_parts import PageHeatmap
from pyadx.report.panels import check_figures_possible
from pyadx.report.scan_panels import save_scan_panels
from pyadx.report.sidecars import read_facts

_MOST_CURVES = 10  # maximum number of curves for an atlas


@dataclass(frozen=True)
class ReportRequest:
    """All inputs and options of a page."""

    scan: Path
    heatmaps: Sequence[Path]
    out: Path
    regions: Path | None = None
    title: str | None = None
    overwrite: bool = False
    orientation: str = "auto"
    key: Path | None = None
    drawn: FigureOptions = field(default_factory=FigureOptions)


def run_report(request: ReportRequest) -> int:
    """Write the page, or the figure if the name ends in .png or .pdf; return its size in bytes.

    Raises
    ------
    ValueError
        If a file cannot be read or is not on the scan's voxels, or the page cannot be written.
    """
    figure = _check(request)
    scan = read_scan(request.scan, orientation=request.orientation)
    shown = request.drawn.on(scan, scan.path.name)
    heatmaps = named([(path, *_read_heatmap(path, scan)) for path in request.heatmaps])
    title = request.title or f"Heatmaps of {scan.path.name}"
    if figure:
        save_scan_panels(request.out, scan, heatmaps, title, **shown)
        return request.out.stat().st_size
    labels = regions = curves = None
    if request.regions is not None:
        volume = read_labels(request.regions)
        labels = labels_on_scan(volume, scan)
        regions = atlas_regions(volume, request.key)
        chosen = regions and strongest_regions(heatmaps[0].values, labels, regions)
        masks = (
            regions_on_scan(volume, scan, chosen, union=False) if chosen else regions_on_scan(volume, scan)
        )
        curves = _curves(heatmaps, masks, scan)
    page = html_page(
        scan,
        heatmaps,
        title=title,
        labels=labels,
        regions=regions,
        curves=curves,
        slices=shown["slices"],
    )
    save_page(request.out, page)
    return request.out.stat().st_size


def _check(request: ReportRequest) -> bool:
    """Check options before any file is read; return whether a figure was requested."""
    check_figures_possible()
    figure = is_figure(request.out, request.drawn)
    check_output_file(request.out, overwrite=request.overwrite)
    if not request.heatmaps:
        raise ValueError("give at least one heatmap")
    if request.key is not None and request.regions is None:
        raise ValueError("--key names the regions of an atlas: give the atlas with --regions")
    if figure and request.regions is not None:
        raise ValueError("--regions is for a page, such as -o report.html")
    return figure


def named(heatmaps: Sequence[tuple[Path, np.ndarray, dict[str, Any]]]) -> list[PageHeatmap]:
    """Name heatmaps by their sidecars, or by their files if the sidecars give equal names."""
    names = [_name(path, facts) for path, _, facts in heatmaps]
    found = []
    for (path, values, facts), name in zip(heatmaps, names, strict=True):
        unique = name if names.count(name) == 1 else f"{name} ({path.name})"
        words = flat_words(values, "heatmap")
        if words:  # shown nevertheless, because an empty map is a result
            warnings.warn(f"{path}: {words}", UserWarning, stacklevel=2)
            unique += f" [flat: {words}]"
        found.append(PageHeatmap(unique, values, facts))
    return found


def _name(path: Path, facts: dict[str, Any]) -> str:
    method = facts.get("method")
    if not isinstance(method, str):
        return path.name
    known = methods()
    words = known[method].title if method in known else method
    parameters, model = facts.get("parameters"), facts.get("model")
    layer = parameters.get("layer") if isinstance(parameters, dict) else None
    network = model.get("architecture") if isinstance(model, dict) else None
    details = ", ".join(str(word) for word in (network, layer) if word)
    return f"{words} ({details})" if details else words


def _read_heatmap(path: Path, scan: Scan) -> tuple[np.ndarray, dict[str, Any]]:
    heat = read_volume(path)
    if not heat.lies_on(scan):
        raise ValueError(
            f"{path}: is not on the voxels of {scan.path.name} (other shape or affine); "
            "heatmaps of pyadx explain are"
        )
    return heat.data, read_facts(path)


def atlas_regions(atlas: Scan, key: Path | None) -> dict[str, list[int]] | None:
    """Return the regions of an atlas by name; ``None`` for FreeSurfer's numbers without a key.

    Raises
    ------
    ValueError
        If the key cannot be read, or names none of the numbers.
    """
    names, source = names_of(atlas, key)
    if source == FREESURFER:
        return None
    refuse_flat(atlas.path, atlas.data, "label volume")
    numbers = np.unique(atlas.data[atlas.data > 0]).astype(np.int64)
    tell_names(numbers, names, source)
    found: dict[str, list[int]] = {}
    for number in numbers.tolist():
        found.setdefault(names.get(number, str(number)), []).append(number)
    return found


def strongest_regions(
    heat: np.ndarray, labels: np.ndarray, regions: Mapping[str, Sequence[int]], most: int = _MOST_CURVES
) -> dict[str, Sequence[int]]:
    """Return the regions in which a heatmap is strongest, by the mean of its absolute values."""
    counts = np.bincount(labels.ravel())
    sums = np.bincount(labels.ravel(), np.abs(heat).ravel().astype(np.float64))
    means = {}
    for name, numbers in regions.items():
        held = [number for number in numbers if number < len(counts) and counts[number]]
        if held:
            means[name] = sums[held].sum() / counts[held].sum()
    chosen = sorted(means, key=lambda name: -means[name])[:most]
    return {name: regions[name] for name in regions if name in chosen}


def _curves(
    heatmaps: Sequence[PageHeatmap], regions: dict[str, np.ndarray], scan: Scan
) -> dict[str, dict[str, PrecisionRecall]]:
    brain = scan.data != 0
    return {heat.name: pooled_curves([heat.values], [regions], [brain]) for heat in heatmaps}
