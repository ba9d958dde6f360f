"""Bars of regions on the page, and the buttons that show a region in the viewer."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from pyadx.report.markup import number
from pyadx.report.region_reports import WHISKER, Region, RegionReport
from pyadx.report.sidecars import mapping, sign_words

SHOWN = 20  # the others are folded away
_WIDTH, _HEIGHT, _MARGIN = 480.0, 18.0, 6.0  # of a bar's drawing


def region_bars(number_of: int, report: RegionReport, facts: Mapping[str, Any]) -> str:
    """Return a table whose rows are bars; each name is a button that shows the region in the viewer.

    Parameters
    ----------
    number_of : int
        Place of the heatmap on the page.
    report : RegionReport
        Its regions.
    facts : mapping
        Its sidecar, for what the signs speak for.
    """
    rows = [_row(number_of, place, one, report.ends) for place, one in enumerate(report.regions)]
    value = "share" if report.shared else "change"
    head = '<th>region</th><th class="bar"></th>' + "".join(
        f'<th class="number">{words}</th>' for words in (value, f"&plusmn; {WHISKER} SE", "alone", "voxels")
    )
    text = f"<p>{html.escape(completeness(report))}</p><p>{html.escape(_legend(report, facts))}</p>"
    return text + foldable(head, rows) + table_button(number_of)


def completeness(report: RegionReport) -> str:
    """Say what the values add up to, and what of the change they leave open."""
    if not report.shared:
        return "Regions in the order in which they were taken; each change is on top of those before it."
    if report.change is None or report.gap is None:
        return ""
    ends = ""
    if report.score is not None and report.reference_score is not None:
        ends = f" from {number(report.reference_score)} (all regions filled) to {number(report.score)}"
    return (
        f"The shares add up to {number(report.change - report.gap)}. The score changes by "
        f"{number(report.change)}{ends}; gap {number(report.gap)}."
    )


def _legend(report: RegionReport, facts: Mapping[str, Any]) -> str:
    """Say what bars, whiskers and diamonds are."""
    said = []
    if report.shared and mapping(facts, "target"):
        low, high = sign_words(facts)
        said.append(f"A bar to the right {high}, one to the left {low}.")
    if report.exact:
        said.append("The shares are exact: every combination of regions that matters was scored.")
    elif any(region.error is not None for region in report.regions):
        said.append(
            f"Whiskers: {WHISKER} standard errors (SE) to either side, a 95% interval; the errors come "
            "from drawing some orders of the regions instead of all."
        )
    elif report.shared:
        said.append("Standard errors are not known: they need two pairs of orders or more.")
    if any(region.alone is not None for region in report.regions):
        said.append("Diamond, alone: how far the score falls when this region alone is filled.")
    return " ".join(said)


def _row(number_of: int, place: int, region: Region, ends: tuple[float, float]) -> str:
    whisker = "" if region.error is None else number(region.whisker)
    cells = (number(region.value), whisker, number(region.alone), region.voxels)
    bar = drawing(region.value, ends, None if region.error is None else region.whisker, region.alone)
    return (
        f'<tr><th>{region_button(number_of, place, region.name)}</th><td class="bar">{bar}</td>'
        + "".join(f'<td class="number">{"" if cell is None else cell}</td>' for cell in cells)
        + "</tr>"
    )


def drawing(
    value: float, ends: tuple[float, float], whisker: float | None = None, diamond: float | None = None
) -> str:
    """Return one bar; the numbers stand beside it for those who do not see.

    Parameters
    ----------
    value : float
        Where it ends; it begins at 0.
    ends : pair of float
        The least and the largest value of the chart.
    whisker : float, optional
        Half of an interval around the value.
    diamond : float, optional
        Where a marker stands.
    """
    low, high = ends

    def x(value: float) -> float:
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * (value - low) / (high - low)

    zero, end, middle = x(0.0), x(value), _HEIGHT / 2
    sign = "minus" if value < 0 else "plus"
    parts = [
        f'<rect class="{sign}" x="{min(zero, end):.2f}" y="3" width="{abs(end - zero):.2f}" '
        f'height="{_HEIGHT - 6:g}"/>',
        f'<path class="axis" d="M{zero:.2f} 0V{_HEIGHT:g}"/>',
    ]
    if whisker is not None:
        left, right = x(value - whisker), x(value + whisker)
        parts.append(
            f'<path class="whisker" d="M{left:.2f} {middle:g}H{right:.2f}M{left:.2f} 5V{_HEIGHT - 5:g}'
            f'M{right:.2f} 5V{_HEIGHT - 5:g}"/>'
        )
    if diamond is not None:
        parts.append(
            f'<path class="alone" d="M{x(diamond):.2f} {middle - 4.5:g}l4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>'
        )
    box = f"0 0 {_WIDTH:g} {_HEIGHT:g}"
    return f'<svg viewBox="{box}" aria-hidden="true">{"".join(parts)}</svg>'


def region_button(number_of: int, place: int, name: str) -> str:
    """Return the button that shows a region in the viewer, which enables it if it knows where that is."""
    return (
        f'<button type="button" class="region" data-heatmap="{number_of}" data-region="{place}" '
        f'aria-pressed="false" disabled>{html.escape(name)}</button>'
    )


def foldable(head: str, rows: Sequence[str], kind: str = "regions") -> str:
    """Return a table of rows in HTML, of which those after the first `SHOWN` are folded away."""

    def part(some: Sequence[str]) -> str:
        return f'<div class="scroll"><table class="{kind}"><tr>{head}</tr>{"".join(some)}</table></div>'

    rest = rows[SHOWN:]
    more = f"<details><summary>{len(rest)} more regions</summary>{part(rest)}</details>" if rest else ""
    return part(rows[:SHOWN]) + more


def table_button(number_of: int) -> str:
    """Return the button that keeps the table of a heatmap's regions."""
    return (
        f'<button type="button" class="download" data-heatmap="{number_of}" disabled>Table (TSV)</button>'
    )
