"""A self-contained HTML page to explore a scan and its heatmaps offline.

The viewer is NiiVue (BSD 2-Clause, `viewer/NIIVUE-LICENSE`). Its code and the volumes are part of the page.
"""

import base64
import hashlib
import html
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from pyadx.data.freesurfer import refuse_other_atlas
from pyadx.data.regions import REGIONS
from pyadx.data.scans import Scan
from pyadx.evaluation.curves import PrecisionRecall
from pyadx.files import replacing
from pyadx.report.colours import colour_scale, sign_styles, viewer_colormaps
from pyadx.report.markup import image
from pyadx.report.page_parts import Around, PageHeatmap
from pyadx.report.panels import centre_of_mass
from pyadx.report.precision_recall import region_colours
from pyadx.report.quantised import quantised_nifti
from pyadx.report.region_places import RegionPlaces, region_centres, region_numbers
from pyadx.report.region_reports import region_report
from pyadx.report.region_tables import region_tsv
from pyadx.report.scan_panels import save_scan_panels
from pyadx.report.sections import sections
from pyadx.report.sidecars import approximation, mapping, shareable
from pyadx.report.steering import voxel_at, world_position

_VIEWER = Path(__file__).with_name("viewer")
_NOTE = "Research software, not a medical device."


def html_page(
    scan: Scan,
    heatmaps: Sequence[PageHeatmap],
    *,
    title: str,
    labels: np.ndarray | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    curves: Mapping[str, Mapping[str, PrecisionRecall]] | None = None,
    panels: bool = True,
    around: Around | None = None,
    scan_name: str = "scan",
    slices: Sequence[float] | None = None,
) -> str:
    """Return the HTML of the page.

    Parameters
    ----------
    scan : Scan
        Background image.
    heatmaps : sequence of PageHeatmap
        Heatmaps to offer. The page opens with the first one.
    title : str
        Heading, as plain text; it is escaped.
    labels : numpy.ndarray, optional
        Label volume on the scan's voxels. The page outlines its regions and names that at the crosshair.
    regions : mapping, optional
        Region name to label numbers. By default the paper's regions, by FreeSurfer's numbers.
    curves : mapping, optional
        Heatmap name to region to precision-recall curve, drawn below the viewer.
    panels : bool
        Include still sections, for browsers without WebGL 2.
    around : Around, optional
        HTML that the caller adds.
    scan_name : str
        The page's name for ``scan``.
    slices : sequence of float, optional
        x, y, z in mm of the scan's world: where the page opens and still sections are cut. By default,
        where the first heatmap is strongest.

    Returns
    -------
    str
        The whole page. It loads nothing from elsewhere.

    Raises
    ------
    ValueError
        If a heatmap or the label volume differs in shape from the scan, if a heatmap is not finite, if
        ``slices`` are outside the scan, or if the default ``regions`` are used and ``labels`` do
        not look like FreeSurfer's.
    """
    for heat in heatmaps:
        if heat.values.shape != scan.data.shape:
            raise ValueError(
                f"{heat.name}: has shape {heat.values.shape}, but the {scan_name} has shape "
                f"{scan.data.shape}; a heatmap must have the voxels of the {scan_name}"
            )
        if not np.isfinite(heat.values).all():
            raise ValueError(f"{heat.name}: holds NaN or infinity")
    around = around or Around()
    heatmaps = [replace(heat, facts=shareable(heat.facts)) for heat in heatmaps]
    data: dict[str, Any] = {
        "scan": {
            **_volume(scan.path.name, scan.data, scan.affine),
            "top": float(np.abs(scan.data).max()) or 1.0,
            "words": scan_name,
        },
        "heatmaps": [_heatmap(i, heat, scan.affine, labels) for i, heat in enumerate(heatmaps)],
        "colours": viewer_colormaps(),
        "regions": None if labels is None else _regions(labels, scan, regions),
        "at": _start(scan, heatmaps, slices),
    }
    style, script = _text("page.css") + sign_styles(), _text("page.js")
    niivue = _text("niivue.umd.js").replace("</script", "<\\/script")
    values = {
        "policy": _policy([niivue, script], [style]),
        "title": html.escape(title),
        "note": html.escape(_note(heatmaps)),
        "style": style,
        "script": script,
        "niivue": niivue,
        "data": json.dumps(data).replace("<", "\\u003c"),
        "panels": _panels(scan, [h for h in heatmaps if not h.listed], title, slices) if panels else "",
        "lead": around.lead,
        "sections": around.first
        + sections([(heat.name, heat.facts) for heat in heatmaps], curves)
        + around.last,
        "footer": "Viewer: NiiVue 0.69.0, &copy; 2021 Niivue, BSD 2-Clause licence. " + html.escape(_NOTE),
    }
    return Template(_text("page.html")).substitute(values)


def save_page(path: str | os.PathLike[str], page: str) -> None:
    """Write a page to a file.

    Parameters
    ----------
    path : path
        Output file. It appears complete or not at all.
    page : str
        HTML, as `html_page` returns it.
    """
    with replacing(Path(path)) as (partial,):
        # JSON allows lone surrogates in a text; UTF-8 files do not.
        partial.write_text(page, encoding="utf-8", errors="replace")


def _text(name: str) -> str:
    return (_VIEWER / name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return the content security policy: no requests, and only these scripts and styles."""

    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(styles)}; "
        "img-src data: blob:; font-src data:; connect-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _volume(file: str, values: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    """Return a volume as a new NIfTI file. Nothing of its original header is kept, for privacy."""
    nifti = base64.b64encode(quantised_nifti(values, affine)).decode("ascii")
    return {"file": f"{file}.nii.gz", "nifti": nifti}


def _heatmap(
    number: int, heat: PageHeatmap, affine: np.ndarray, labels: np.ndarray | None
) -> dict[str, Any]:
    scale = colour_scale(heat.values, heat.facts)
    if heat.ends is not None and scale.signed:
        scale = replace(scale, low=heat.ends[0], high=heat.ends[1])
    return {
        **_volume(f"heatmap {number}", heat.values, affine),
        "name": heat.name,
        "remark": heat.remark or approximation(heat.facts),
        "listed": heat.listed,
        "report": _report(heat, affine, labels),
        **asdict(scale),
    }


def _report(heat: PageHeatmap, affine: np.ndarray, labels: np.ndarray | None) -> dict[str, Any] | None:
    """Return the regions of a heatmap: their table and their places."""
    places = heat.places or _places_of_sidecar(heat, labels)
    if places is None:
        return None
    centres = region_centres(places.numbers, len(places.names))
    file = re.sub(r"[^A-Za-z0-9_-]+", "-", heat.name).strip("-")
    return {
        "file": "places.nii.gz",
        "nifti": base64.b64encode(quantised_nifti(places.numbers, affine, exact=True)).decode("ascii"),
        "names": list(places.names),
        "at": [None if voxel is None else world_position(voxel, affine) for voxel in centres],
        "table": places.table,
        "table_file": f"{file}_regions.tsv",
    }


def _places_of_sidecar(heat: PageHeatmap, labels: np.ndarray | None) -> RegionPlaces | None:
    report = region_report(heat.facts.get("report"))
    if report is None:
        return None
    names = tuple(region.name for region in report.regions)
    return RegionPlaces(names, region_numbers(heat.values, report, labels), region_tsv(report))


def _regions(labels: np.ndarray, scan: Scan, regions: Mapping[str, Sequence[int]] | None) -> dict[str, Any]:
    """Return the regions, numbered from 1 because the viewer's label colours need consecutive numbers."""
    if labels.shape != scan.data.shape:
        raise ValueError(
            f"the label volume has shape {labels.shape}, but the scan has shape {scan.data.shape}"
        )
    if regions is None:
        refuse_other_atlas("the label volume", labels, scan.affine, ", ".join(REGIONS))
        regions = REGIONS
    numbered = np.zeros(labels.shape, np.uint8 if len(regions) < 256 else np.int16)
    for number, members in enumerate(regions.values(), start=1):
        numbered[np.isin(labels, list(members))] = number
    colours = [(0, 0, 0), *region_colours(regions)]
    red, green, blue = (list(channel) for channel in zip(*colours, strict=True))
    names = ["", *regions]
    clear = [0] * len(names)  # transparent inside; the viewer draws the borders
    nifti = quantised_nifti(numbered, scan.affine, exact=True)
    return {
        "file": "regions.nii.gz",
        "nifti": base64.b64encode(nifti).decode("ascii"),
        "names": names,
        "colours": {
            "R": red,
            "G": green,
            "B": blue,
            "A": clear,
            "I": [*range(len(names))],
            "labels": names,
        },
    }


def _start(scan: Scan, heatmaps: Sequence[PageHeatmap], slices: Sequence[float] | None) -> list[float]:
    """Return the world position in mm at which the page opens: by default that of the strongest voxel."""
    if slices is not None:
        voxel_at(slices, scan.affine, scan.data.shape, scan.path.name)
        return [float(mm) for mm in slices]
    if heatmaps and np.abs(heatmaps[0].values).max() > 0:
        strongest = np.abs(heatmaps[0].values).argmax()
        return world_position(np.unravel_index(strongest, scan.data.shape), scan.affine)
    return world_position(centre_of_mass(scan.data), scan.affine)


def _note(heatmaps: Sequence[PageHeatmap]) -> str:
    notes = [_NOTE]
    if any(mapping(heat.facts, "model").get("trained") is False for heat in heatmaps):
        notes.append(
            "A network on this page is UNTRAINED (random weights): its maps show the method, not a disease."
        )
    if any(approximation(heat.facts) for heat in heatmaps):
        notes.append("Some maps are APPROXIMATE and are marked as such.")
    return " ".join(notes)


def _panels(scan: Scan, heatmaps: Sequence[PageHeatmap], title: str, slices: Sequence[float] | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "panels.png"
        save_scan_panels(file, scan, heatmaps, title, slices=slices)
        return image(file, "Axial, sagittal and coronal sections of the scan and each heatmap")
