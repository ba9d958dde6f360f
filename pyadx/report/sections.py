"""Sections below the viewer: regions, predictions, scan checks, localisation, provenance."""

import html
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyadx.evaluation.curves import PrecisionRecall
from pyadx.report.markup import image, table
from pyadx.report.precision_recall import save_precision_recall
from pyadx.report.region_sections import region_sections
from pyadx.report.sidecars import approximation, mapping

Curves = Mapping[str, Mapping[str, PrecisionRecall]]
Named = Sequence[tuple[str, Mapping[str, Any]]]


def sections(sidecars: Named, curves: Curves | None) -> str:
    """Return the HTML of all sections that have content.

    Parameters
    ----------
    sidecars : sequence of (str, mapping)
        Name and sidecar of every heatmap.
    curves : mapping, optional
        Heatmap name to region to precision-recall curve.

    Returns
    -------
    str
        HTML; empty if there is nothing to show.
    """
    parts = [region_sections(place, name, facts) for place, (name, facts) in enumerate(sidecars)]
    known = [(name, facts) for name, facts in sidecars if facts]
    if known:
        parts.append("<h2>Prediction, method, time</h2>" + _facts_table(known))
        parts.append(_checks(known))
    if curves:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "curves.png"
            save_precision_recall(file, curves, "Precision and recall against anatomical regions")
            parts.append(
                "<h2>Localisation</h2>" + image(file, "Precision-recall curves") + _ap_table(curves)
            )
    for name, facts in known:
        text = html.escape(json.dumps(facts, indent=2, ensure_ascii=False))
        parts.append(
            f"<details><summary>Provenance: {html.escape(name)}</summary><pre>{text}</pre></details>"
        )
    return "\n".join(parts)


def _facts_table(known: Named) -> str:
    rows = []
    for name, facts in known:
        prediction = ", ".join(f"{k} {v:.3f}" for k, v in mapping(facts, "prediction").items())
        given = {k: v for k, v in mapping(facts, "parameters").items() if v is not None}
        parameters = ", ".join(f"{option} {value}" for option, value in given.items())
        seconds = mapping(facts, "seconds").get("explain", "")
        network = mapping(facts, "model").get("architecture", "")
        target = mapping(facts, "target").get("name", "")
        said = approximation(facts)
        title = f"{name} ({said})" if said else name
        rows.append([title, network, target, prediction, _reference(facts), parameters, seconds])
    head = ["heatmap", "network", "explains", "prediction", "reference", "parameters", "seconds"]
    return table(head, rows)


def _checks(known: Named) -> str:
    """Return the section on how the scan differs from those each network was made for."""
    rows = []
    for name, facts in known:
        checks = mapping(facts, "checks")
        if not checks:
            continue  # sidecars of earlier versions have no checks
        doubts = checks.get("outside")
        said = [str(words) for words in doubts] if isinstance(doubts, list) else []
        rows.append([name, checks.get("compared_with", ""), "; ".join(said) or "nothing unusual"])
    head = ["heatmap", "compared with", "unusual about the scan"]
    return "<h2>Does the scan suit the network?</h2>" + table(head, rows) if rows else ""


def _reference(facts: Mapping[str, Any]) -> str:
    """Return the name of the reference, and how well the map of a second reference agrees."""
    words = str(mapping(facts, "reference").get("name", ""))
    second = mapping(facts, "second_reference")
    if not second:
        return words
    flipped = second.get("share_with_other_sign")
    share = f", {flipped:.0%} of this map has the other sign" if isinstance(flipped, float) else ""
    return f"{words}; with {second.get('name')}: correlation {second.get('correlation')}{share}"


def _ap_table(curves: Curves) -> str:
    regions = list(next(iter(curves.values())))
    rows: list[list[Any]] = [
        [name, *(f"{own[region].average_precision:.3f}" for region in regions)]
        for name, own in curves.items()
    ]
    first = next(iter(curves.values()))
    rows.append(["prevalence (a random map)", *(f"{first[region].prevalence:.3f}" for region in regions)])
    return table(["average precision", *regions], rows)
