"""Sections of the page on a heatmap's regions: their values, and their interactions."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from pyadx.report.colours import SHADES
from pyadx.report.markup import number, table
from pyadx.report.region_bars import region_bars
from pyadx.report.region_reports import merges_of, pairs_of, region_report

_MERGES = 10


def region_sections(number_of: int, name: str, facts: Mapping[str, Any]) -> str:
    """Return the section on one heatmap's regions.

    Parameters
    ----------
    number_of : int
        Index of the heatmap on the page, from 0. It links the buttons of the regions to the heatmap.
    name : str
        Name of the heatmap.
    facts : mapping
        Sidecar of the heatmap.

    Returns
    -------
    str
        HTML; empty if the sidecar has no regions.
    """
    said = facts.get("report")
    report, pairs, merges = region_report(said), pairs_of(said), merges_of(said)[:_MERGES]
    parts = []
    if report is not None:
        parts.append(region_bars(number_of, report, facts))
    if pairs is not None:
        rows = [[name, *map(number, row)] for name, row in zip(pairs.names, pairs.matrix, strict=True)]
        kinds = [["", *row] for row in _shades(pairs.matrix)]
        parts.append(
            "<h3>Pairs of regions</h3><p>Interactions, in units of the score. Negative: the two regions "
            "are redundant, so each can replace the other. Positive: the two are needed together.</p>"
            + table(["", *pairs.names], rows, kinds)
        )
    if merges:
        parts.append(_merges(merges))
    return f"<h2>Regions: {html.escape(name)}</h2>" + "".join(parts) if parts else ""


def _merges(merges: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            f"{merge['leaves'][0]} to {merge['leaves'][1] - 1}",
            merge["parts"],
            *(number(merge[name]) for name in ("together", "alone", "interaction")),
        ]
        for merge in merges
    ]
    kinds = [
        ["", "number", "number", "number", kind]
        for (kind,) in _shades([[m["interaction"]] for m in merges])
    ]
    head = ["segment (leaves)", "parts", "filled together", "sum of the parts", "interaction"]
    return (
        "<h3>Parts of segments</h3><p>Interaction: change of the score when a segment is filled as a "
        "whole, minus the sum of the changes when its parts are filled separately. Positive: the parts are "
        "redundant, so each can replace the others. Negative: the parts are needed together, so filling "
        "one removes the effect of the others, too.</p>" + table(head, rows, kinds)
    )


def _shades(matrix: Sequence[Sequence[float | None]]) -> list[list[str]]:
    """Return the CSS class of every cell: its sign, and a shade by its size relative to the largest."""
    top = max((abs(value) for row in matrix for value in row if value is not None), default=0.0) or 1.0

    def kind(value: float | None) -> str:
        step = 0 if value is None else round(SHADES * abs(value) / top)
        return f"number {'minus' if (value or 0) < 0 else 'plus'}-{step}" if step else "number"

    return [[kind(value) for value in row] for row in matrix]
