"""Bars of regions on the page, and the buttons that show a region in the viewer."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from pyadx.report.markup import number
from pyadx.report.region_reports import WHISKER, Region, RegionReport
from pyadx.report.sidecars import mapping, sign_words

SHOWN = 20  # rows shown at first; the others are in a collapsed block
_WIDTH, _HEIGHT, _MARGIN = 480.0, 18.0, 6.0  # of a bar's SVG, in its own units


def region_bars(number_of: int, report: RegionReport, facts: Mapping[str, Any]) -> str:
    """Return a table with a bar for each region. Region names are buttons that show them in the viewer.

    Parameters
    ----------
    number_of : int
        Index of the heatmap on the page, from 0.
    report : RegionReport
        Regions of this heatmap.
    facts : mapping
        Sidecar of this heatmap, for the meaning of the signs.

    Returns
    -------
    str
        HTML.
    """
    rows = [_row(number_of, place, one, report.ends) for place, one in enumerate(report.regions)]
    value = "share" if report.shared else "change"
    head = '<th>region</th><th class="bar"></th>' + "".join(
        f'<th class="number">{words}</th>' for words in (value, f"&plusmn; {WHISKER} SE", "alone", "voxels")
    )
    text = f"<p>{html.escape(completeness(report))}</p><p>{html.escape(_legend(report, facts))}</p>"
    return text + foldable(head, rows) + table_button(number_of)


def completeness(report: RegionReport) -> str:
    """Return a sentence on the sum of the values, and on the part of the change they do not explain."""
    if not report.shared:
        return "Regions in the order in which they were selected; each change adds to those above it."
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
    """Return the legend of bars, whiskers and diamonds."""
    said = []
    if report.shared and mapping(facts, "target"):
        low, high = sign_words(facts)
        said.append(f"A bar to the right {high}, one to the left {low}.")
    if report.exact:
        said.append("The shares are exact: all relevant combinations of regions were scored.")
    elif any(region.error is not None for region in report.regions):
        said.append(
            f"Whiskers: {WHISKER} standard errors (SE) to either side, a 95% interval. The errors arise "
            "because only a sample of all orders of the regions was used."
        )
    elif report.shared:
        said.append("Standard errors are not known: they need at least two pairs of orders.")
    if any(region.alone is not None for region in report.regions):
        said.append("Diamond (alone): how far the score falls when only this region is filled.")
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
    """Return one bar as SVG. Screen readers skip it, because its numbers are in the same table row.

    Parameters
    ----------
    value : float
        Length of the bar, which starts at 0.
    ends : pair of float
        Smallest and largest value of the chart.
    whisker : float, optional
        Half the width of an interval around the value.
    diamond : float, optional
        Value at which to draw a diamond.
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
    """Return the button that shows a region in the viewer; the script enables it if the place is known."""
    return (
        f'<button type="button" class="region" data-heatmap="{number_of}" data-region="{place}" '
        f'aria-pressed="false" disabled>{html.escape(name)}</button>'
    )


def foldable(head: str, rows: Sequence[str], kind: str = "regions") -> str:
    """Return a table of HTML rows. Those after the first `SHOWN` are in a collapsed block."""

    def part(some: Sequence[str]) -> str:
        return f'<div class="scroll"><table class="{kind}"><tr>{head}</tr>{"".join(some)}</table></div>'

    rest = rows[SHOWN:]
    more = f"<details><summary>{len(rest)} more regions</summary>{part(rest)}</details>" if rest else ""
    return part(rows[:SHOWN]) + more


def table_button(number_of: int) -> str:
    """Return the button that downloads the table of a heatmap's regions."""
    return (
        f'<button type="button" class="download" data-heatmap="{number_of}" disabled>Table (TSV)</button>'
    )
