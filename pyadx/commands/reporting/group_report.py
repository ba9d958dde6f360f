"""``pyadx report --group``: the results of ``pyadx group`` as one offline page, or as a figure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pyadx.commands.figures import FigureOptions, is_figure
from pyadx.commands.reporting.group_figure import draw_group_figure
from pyadx.commands.reporting.group_results import GroupResults, read_group
from pyadx.commands.reporting.group_subjects import subject_maps
from pyadx.commands.reporting.regions import FREESURFER, names_of, tell_names
from pyadx.commands.reporting.report import strongest_regions
from pyadx.data.flatness import refuse_flat
from pyadx.data.literature_maps import on_grid
from pyadx.data.regions import labels_on_scan, read_labels
from pyadx.data.scans import Scan, read_volume
from pyadx.evaluation import PrecisionRecall, pooled_curves
from pyadx.files import check_output_file
from pyadx.report.group_sections import (
    CITE,
    TEMPLATE,
    GroupRegion,
    group_regions,
    group_tsv,
    methods_section,
    paragraph,
    sentences,
)
from pyadx.report.page import html_page, save_page
from pyadx.report.page_parts import Around, PageHeatmap
from pyadx.report.panels import check_figures_possible
from pyadx.report.region_places import RegionPlaces

MOST_SUBJECTS = 12
_VOXELS = (
    2_000_000  # all voxels of single subjects' maps; at most about 3 MB of the page, for maps of noise
)
_MOST_CURVES = 5
_DIFFERENCE = 0  # position of the difference map, which the page shows first


@dataclass(frozen=True)
class GroupReportRequest:
    """All inputs and options of a page of groups."""

    folder: Path
    out: Path
    background: Path | None = None
    regions: Path | None = None
    key: Path | None = None
    title: str | None = None
    subjects: int | None = None
    orientation: str = "auto"
    overwrite: bool = False
    drawn: FigureOptions = field(default_factory=FigureOptions)


@dataclass(frozen=True, eq=False)
class _Atlas:
    labels: np.ndarray
    regions: Mapping[str, Sequence[int]]


def run_group_report(request: GroupReportRequest) -> int:
    """Write the page, or the figure if the name ends in .png or .pdf; return its size in bytes.

    Raises
    ------
    ValueError
        If the folder holds no results, a file does not fit them, or the page cannot be written.
    """
    figure = _check(request)
    results = read_group(request.folder)
    grid = results.image(results.groups[0], "mean")
    drawn = request.drawn.on(grid, f"the maps of {request.folder}")
    inside = results.inside(grid)
    beneath, caption, cited = _background(request, results, grid)
    title = request.title or f"Heatmaps of two groups: {results.words}"
    if figure:
        draw_group_figure(request.out, [(results.method, results, beneath)], title, results.alpha, **drawn)
        return request.out.stat().st_size
    rows = results.regions()
    atlas = _atlas(request, results, rows, grid)
    shown, remarks = _group_maps(results, grid, _places(rows, atlas, grid))
    most = request.subjects
    if most is None:
        most = min(MOST_SUBJECTS, max(2, _VOXELS // max(1, int(inside.sum()))))
    single = subject_maps(results, grid, inside, most)
    first = paragraph(f"{caption} {_subject_words(results, single)}")
    if rows:
        first += group_regions(
            _DIFFERENCE, rows, results.groups, str(results.atlas), placed=atlas is not None
        )
    lead = sentences([*results.findings, *remarks])
    page = html_page(
        beneath,
        [*shown, *single],
        title=title,
        labels=None if atlas is None else atlas.labels,
        regions=None if atlas is None else atlas.regions,
        curves=None if atlas is None else _curves(results, atlas, inside),
        around=Around(lead, first, methods_section(results.methods, cited)),
        scan_name="background",
        slices=drawn["slices"],
    )
    save_page(request.out, page)
    return request.out.stat().st_size


def _check(request: GroupReportRequest) -> bool:
    """Check options before any file is read; return whether a figure was requested."""
    check_figures_possible()
    figure = is_figure(request.out, request.drawn)
    check_output_file(request.out, overwrite=request.overwrite)
    if request.subjects is not None and request.subjects < 0:
        raise ValueError(f"--subjects must be 0 or more, got {request.subjects}")
    if request.key is not None and request.regions is None:
        raise ValueError("--key names the regions of an atlas: give the atlas with --regions")
    if figure and request.regions is not None:  # the figure's bars come from the table
        raise ValueError("--regions is for a page, such as -o group.html")
    return figure


def _group_maps(
    results: GroupResults, grid: Scan, places: RegionPlaces | None
) -> tuple[list[PageHeatmap], list[str]]:
    """Return the maps of the groups, and a note about a missing map."""
    first, second = results.groups
    ends = (f"more in {second}", f"more in {first}")

    def of_contrast(name: str, stat: str, places: RegionPlaces | None = None) -> PageHeatmap:
        return PageHeatmap(name, results.contrast(stat).data, ends=ends, places=places)

    maps = [of_contrast(f"Difference of means, {results.words}", "difference", places)]
    for group in results.groups:
        values = results.image(group, "mean").data
        maps.append(PageHeatmap(f"Mean of {group} (n = {results.counts[group]})", values))
    maps.append(of_contrast(f"Hedges' g, {results.words}", "hedgesg"))
    if not results.significant:
        return maps, ["There is no map of t above the threshold, because no voxel passes it."]
    t = of_contrast(f"t where family-wise p < {results.alpha:g}", "t")
    t.values[~results.found()] = 0
    return [*maps, t], []


def _background(
    request: GroupReportRequest, results: GroupResults, grid: Scan
) -> tuple[Scan, str, tuple[str, ...]]:
    """Return the background image, a sentence about it, and its citation."""
    if request.background is not None:
        given = read_volume(request.background, orientation=request.orientation)
        if not given.lies_on(grid):
            raise ValueError(
                f"{given.path}: is not on the voxels of the group's maps (other shape or affine); "
                "resample it to their grid, or leave --background out"
            )
        return given, f"Background: {given.path.name}.", CITE
    template = _mni152(grid) if re.match(r"MNI(152|_|$)", results.space or "") else None
    if template is not None:
        words = (
            "Background: the MNI152 brain (2009a, symmetric; nilearn), resampled to the grid of the maps."
        )
        return Scan(Path("MNI152"), grid.image, template, grid.geometry), words, (*CITE, TEMPLATE)
    means = sum(np.abs(results.image(group, "mean").data) for group in results.groups)
    words = "Background: mean absolute value of both groups' maps (--background gives another image)."
    return Scan(Path("mean"), grid.image, np.asarray(means, np.float32), grid.geometry), words, CITE


def _mni152(grid: Scan) -> np.ndarray | None:
    """Return the template on a grid; None without nilearn, or if the grid does not overlap it."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        return None
    template = load_mni152_template(resolution=1)
    found = on_grid(np.asarray(template.dataobj, np.float32), np.asarray(template.affine, float), grid)
    return found if (found > 0).any() else None


def _atlas(
    request: GroupReportRequest, results: GroupResults, rows: Sequence[GroupRegion], grid: Scan
) -> _Atlas | None:
    """Resample the given atlas, or that of the results, to the grid; refuse one with other regions."""
    path = request.regions or (None if results.labels is None else results.folder / results.labels)
    if path is None:
        return None
    volume = read_labels(path)
    refuse_flat(volume.path, volume.data, "label volume")
    names, source = names_of(volume, request.key)
    labels = labels_on_scan(volume, grid)
    numbers = np.unique(labels[labels > 0]).astype(np.int64)
    if source != FREESURFER:
        tell_names(numbers, names, source)
    regions: dict[str, list[int]] = {}
    for number in numbers.tolist():
        regions.setdefault(names.get(number, str(number)), []).append(number)
    if rows and not any(one.name in regions for one in rows):
        raise ValueError(
            f"{volume.path}: holds none of the regions of the table, such as {rows[0].name}; give the "
            "atlas and key that pyadx group was given"
        )
    return _Atlas(labels, regions)


def _places(rows: Sequence[GroupRegion], atlas: _Atlas | None, grid: Scan) -> RegionPlaces | None:
    """Return the places of the table's regions; none without an atlas."""
    if not rows:
        return None
    numbers = np.zeros(grid.data.shape, np.uint16)
    if atlas is not None:
        of_label = np.zeros(int(atlas.labels.max()) + 1, np.uint16)
        for place, one in enumerate(rows, start=1):
            of_label[list(atlas.regions.get(one.name, ()))] = place
        numbers = of_label[np.maximum(atlas.labels, 0)]
    return RegionPlaces(tuple(one.name for one in rows), numbers, group_tsv(rows))


def _subject_words(results: GroupResults, single: Sequence[PageHeatmap]) -> str:
    every = len(results.subjects)
    if not single:
        return f"This page shows none of the {every} subjects' own maps."
    maps = "1 map" if len(single) == 1 else f"{len(single)} maps"
    return (
        f"Of {every} subjects, the list holds {maps}, most and least like the mean of their group (r is "
        f"the correlation with that mean); {every - len(single)} are not in this page."
    )


def _curves(
    results: GroupResults, atlas: _Atlas, inside: np.ndarray
) -> dict[str, dict[str, PrecisionRecall]] | None:
    """Return precision-recall curves of both means for the regions where the first mean is strongest."""
    means = {f"mean of {group}": results.image(group, "mean").data for group in results.groups}
    labels, first = np.where(inside, atlas.labels, 0), next(iter(means.values()))
    chosen = strongest_regions(first, labels, atlas.regions, _MOST_CURVES)
    masks = {name: np.isin(atlas.labels, list(numbers)) for name, numbers in chosen.items()}
    if not masks:
        return None
    return {name: pooled_curves([values], [masks], [inside]) for name, values in means.items()}
