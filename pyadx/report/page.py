"""One self-contained HTML page of a scan and its heatmaps, to be explored offline.

The viewer is NiiVue (BSD 2-Clause, `viewer/NIIVUE-LICENSE`), which stands in the page beside the volumes.
"""

import base64
import html
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from pyadx.data.freesurfer import refuse_other_atlas
from pyadx.data.regions import REGIONS
from pyadx.data.scans import Scan
from pyadx.evaluation.curves import PrecisionRecall
from pyadx.files import replacing
from pyadx.report.panels import centre_of_mass, save_panels
from pyadx.report.precision_recall import REGION_COLOURS, save_precision_recall
from pyadx.report.quantised import quantised_nifti

_VIEWER = Path(__file__).with_name("viewer")
_NOTE = "Research software, not a medical device."


@dataclass(frozen=True, eq=False)
class PageHeatmap:
    """A heatmap on the voxels of the scan.

    Attributes
    ----------
    name : str
        What the reader calls it.
    values : numpy.ndarray
        ``[I, J, K]`` in the scan's own axis order.
    facts : dict
        Its sidecar, as `pyadx explain` writes it; may be empty.
    """

    name: str
    values: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)


def html_page(
    scan: Scan,
    heatmaps: Sequence[PageHeatmap],
    *,
    title: str,
    labels: np.ndarray | None = None,
    curves: Mapping[str, Mapping[str, PrecisionRecall]] | None = None,
    panels: bool = True,
) -> str:
    """Return the page.

    Parameters
    ----------
    scan : Scan
        What lies beneath.
    heatmaps : sequence of PageHeatmap
        The first one is shown first.
    title : str
        Heading; any text, it is escaped.
    labels : numpy.ndarray, optional
        Label volume with FreeSurfer's numbers on the scan's voxels: outlines of its regions, and their
        names at the crosshair.
    curves : mapping, optional
        Heatmap name to region to precision-recall curve, drawn beneath.
    panels : bool
        Also put still sections into the page, for browsers without WebGL 2.

    Raises
    ------
    ValueError
        If a heatmap or the label volume has another shape than the scan, or a heatmap is not finite.
    """
    for heat in heatmaps:
        if heat.values.shape != scan.data.shape:
            raise ValueError(
                f"{heat.name}: has shape {heat.values.shape}, the scan {scan.data.shape}; "
                "a heatmap must lie on the scan's voxels"
            )
        if not np.isfinite(heat.values).all():
            raise ValueError(f"{heat.name}: holds NaN or infinity")
    data: dict[str, Any] = {
        "scan": _volume(scan.path.name, scan.data, scan.affine),
        "heatmaps": [
            {**_volume(f"heatmap {i}", heat.values, scan.affine), "name": heat.name}
            for i, heat in enumerate(heatmaps)
        ],
        "regions": None if labels is None else _regions(labels, scan),
        "at": _start(scan, heatmaps),
    }
    values = {
        "title": html.escape(title),
        "note": html.escape(_note(heatmaps)),
        "style": _text("page.css"),
        "script": _text("page.js"),
        "niivue": _text("niivue.umd.js").replace("</script", "<\\/script"),
        "data": json.dumps(data).replace("<", "\\u003c"),
        "panels": _panels(scan, heatmaps, title) if panels else "",
        "sections": _sections(heatmaps, curves),
        "footer": "Viewer: NiiVue 0.69.0, &copy; 2021 Niivue, BSD 2-Clause licence. " + html.escape(_NOTE),
    }
    return Template(_text("page.html")).substitute(values)


def save_page(path: str | os.PathLike[str], page: str) -> None:
    """Write a page: beside the file first, then renamed."""
    with replacing(Path(path)) as (partial,):
        partial.write_text(page, encoding="utf-8")


def _text(name: str) -> str:
    return (_VIEWER / name).read_text(encoding="utf-8")


def _volume(file: str, values: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    top = float(np.abs(values).max())
    signed = bool(values.min() < 0)
    nifti = base64.b64encode(quantised_nifti(values, affine)).decode("ascii")
    return {"file": f"{file}.nii.gz", "nifti": nifti, "top": top or 1.0, "signed": signed}


def _regions(labels: np.ndarray, scan: Scan) -> dict[str, Any]:
    """Return the regions, numbered from 1 as the label colours of the viewer want them."""
    if labels.shape != scan.data.shape:
        raise ValueError(f"the label volume has shape {labels.shape}, the scan {scan.data.shape}")
    refuse_other_atlas("the label volume", labels, scan.affine, ", ".join(REGIONS))
    numbered = np.zeros(labels.shape, np.uint8)
    for number, members in enumerate(REGIONS.values(), start=1):
        numbered[np.isin(labels, members)] = number
    colours = [(0, 0, 0), *(REGION_COLOURS[name] for name in REGIONS)]
    red, green, blue = (list(channel) for channel in zip(*colours, strict=True))
    names = ["", *REGIONS]
    clear = [0] * len(names)  # the inside; the viewer draws the border
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


def _start(scan: Scan, heatmaps: Sequence[PageHeatmap]) -> list[float]:
    """Return the world position, mm, that the page opens at: the strongest voxel of the first heatmap."""
    if heatmaps and np.abs(heatmaps[0].values).max() > 0:
        strongest = np.abs(heatmaps[0].values).argmax()
        voxel = np.array(np.unravel_index(strongest, scan.data.shape), float)
    else:
        voxel = np.array(centre_of_mass(scan.data), float)
    return (scan.affine[:3, :3] @ voxel + scan.affine[:3, 3]).tolist()


def _note(heatmaps: Sequence[PageHeatmap]) -> str:
    notes = [_NOTE]
    models = [heat.facts.get("model", {}) for heat in heatmaps]
    if any(isinstance(model, dict) and model.get("trained") is False for model in models):
        notes.append(
            "A network here is UNTRAINED (random weights): its maps show the method, not a disease."
        )
    return " ".join(notes)


def _panels(scan: Scan, heatmaps: Sequence[PageHeatmap], title: str) -> str:
    from nibabel.orientations import apply_orientation, io_orientation

    turn = io_orientation(scan.affine)
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)[np.argsort(turn[:, 0])]
    rows = {heat.name: apply_orientation(heat.values, turn) for heat in heatmaps}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "panels.png"
        save_panels(file, apply_orientation(scan.data, turn), rows, title, tuple(spacing.tolist()))
        return _image(file, "Axial, sagittal and coronal sections of the scan and each heatmap")


def _image(file: Path, words: str) -> str:
    encoded = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{encoded}">'


def _sections(
    heatmaps: Sequence[PageHeatmap], curves: Mapping[str, Mapping[str, PrecisionRecall]] | None
) -> str:
    parts = []
    known = [heat for heat in heatmaps if heat.facts]
    if known:
        parts.append("<h2>Prediction, method, time</h2>" + _facts_table(known))
    if curves:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "curves.png"
            save_precision_recall(file, curves, "Precision and recall against anatomical regions")
            parts.append(
                "<h2>Localisation</h2>" + _image(file, "Precision-recall curves") + _ap_table(curves)
            )
    for heat in known:
        text = html.escape(json.dumps(heat.facts, indent=2, ensure_ascii=False))
        parts.append(
            f"<details><summary>Provenance: {html.escape(heat.name)}</summary><pre>{text}</pre></details>"
        )
    return "\n".join(parts)


def _facts_table(heatmaps: Sequence[PageHeatmap]) -> str:
    rows = []
    for heat in heatmaps:
        facts = heat.facts
        prediction = ", ".join(f"{k} {v:.3f}" for k, v in dict(facts.get("prediction") or {}).items())
        given = {k: v for k, v in dict(facts.get("parameters") or {}).items() if v is not None}
        parameters = ", ".join(f"{name} {value}" for name, value in given.items())
        seconds = dict(facts.get("seconds") or {}).get("explain", "")
        network = dict(facts.get("model") or {}).get("architecture", "")
        target = dict(facts.get("target") or {}).get("name", "")
        rows.append([heat.name, network, target, prediction, parameters, seconds])
    return _table(["heatmap", "network", "explains", "prediction", "parameters", "seconds"], rows)


def _ap_table(curves: Mapping[str, Mapping[str, PrecisionRecall]]) -> str:
    regions = list(next(iter(curves.values())))
    rows: list[list[Any]] = [
        [name, *(f"{own[region].average_precision:.3f}" for region in regions)]
        for name, own in curves.items()
    ]
    first = next(iter(curves.values()))
    rows.append(["prevalence (a random map)", *(f"{first[region].prevalence:.3f}" for region in regions)])
    return _table(["average precision", *regions], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
