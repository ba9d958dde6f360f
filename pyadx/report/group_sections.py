"""Parts of the page of a group analysis above and below the viewer."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from pyadx.report.markup import number
from pyadx.report.region_bars import drawing, foldable, region_button, table_button
from pyadx.report.region_tables import plain_cell, tsv_text

CITE = (
    "The pyadx developers. pyadx: fast, exact visual explanations of 3D CNNs on brain MRI.",
    "Yang C, Rangarajan A, Ranka S (2018). Visual Explanations From Deep 3D Convolutional Neural Networks "
    "for Alzheimer's Disease Classification. AMIA Annual Symposium Proceedings.",
)
TEMPLATE = (
    "Fonov V et al. (2011). Unbiased average age-appropriate atlases for pediatric studies. NeuroImage "
    "54(1), 313-327. (The MNI152 template.)"
)
_COLUMNS = ("name", "difference", "ci_low", "ci_high", "p", "p_fdr", "hedges_g")


@dataclass(frozen=True)
class GroupRegion:
    """One region of the contrast. Unknown entries are None.

    Attributes
    ----------
    name : str
        Name of the region in the atlas.
    difference, low, high : float or None
        Difference of the means, and the limits of its 95% confidence interval.
    p, q : float or None
        Uncorrected p, and Benjamini-Hochberg q.
    g : float or None
        Hedges' g.
    """

    name: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    q: float | None
    g: float | None


def sentences(told: Sequence[str]) -> str:
    """Return the findings as an HTML list."""
    return '<ul class="lead">' + "".join(f"<li>{html.escape(one)}</li>" for one in told) + "</ul>"


def paragraph(text: str) -> str:
    """Return text as an HTML paragraph."""
    return f"<p>{html.escape(text)}</p>"


def group_regions(
    number_of: int, regions: Sequence[GroupRegion], groups: tuple[str, str], atlas: str, *, placed: bool
) -> str:
    """Return the section with the table of regions. Region names are buttons that show them in the viewer.

    Parameters
    ----------
    number_of : int
        Index of the difference map on the page, from 0.
    regions : sequence of GroupRegion
        Regions in the order of the table.
    groups : pair of str
        Names of the groups. Differences are the first minus the second.
    atlas : str
        File name of the atlas.
    placed : bool
        Whether the page knows the voxels of the regions.

    Returns
    -------
    str
        HTML.
    """
    points = [0.0, *(v for one in regions for v in (one.difference, one.low, one.high) if v is not None)]
    ends = (min(points), max(points)) if max(points) > min(points) else (-1.0, 1.0)
    rows = [_row(number_of, place, one, ends) for place, one in enumerate(regions)]
    words = ("difference", "95% interval", "p", "q", "Hedges' g")
    kinds = ("number", "number interval", "number", "number", "number")
    head = '<th>region</th><th class="bar"></th>' + "".join(
        f'<th class="{kind}">{html.escape(word)}</th>' for kind, word in zip(kinds, words, strict=True)
    )
    first, second = groups
    hint = (
        "Click a region to see where it is."
        if placed
        else "The page was made without the atlas (--regions), so it cannot show where the regions are."
    )
    legend = (
        f"Differences of means over subjects, {first} - {second}, in the regions of {atlas}; the smallest "
        f"q first. A bar to the right: more in {first}; to the left: more in {second}. Whiskers: 95% "
        f"confidence interval. {hint}"
    )
    table = foldable(head, rows, "regions groups")
    return f"<h2>Regions</h2>{paragraph(legend)}{table}{table_button(number_of)}"


def group_tsv(regions: Sequence[GroupRegion]) -> str:
    """Return the regions as the text of a TSV file."""
    rows = [[plain_cell(r.name), r.difference, r.low, r.high, r.p, r.q, r.g] for r in regions]
    return tsv_text(_COLUMNS, rows)


def methods_section(text: str, cited: Sequence[str]) -> str:
    """Return the section with the methods text, a button to copy it, and a list of further citations."""
    cite = "".join(f"<li>{html.escape(one)}</li>" for one in cited)
    return (
        "<h2>Methods text</h2>"
        '<button type="button" class="copy" data-copy="methods-text" disabled>Copy</button>'
        f'<pre class="text" id="methods-text">{html.escape(text)}</pre>'
        f"<h2>Also cite</h2><ul>{cite}</ul>"
    )


def _row(number_of: int, place: int, region: GroupRegion, ends: tuple[float, float]) -> str:
    bar = interval = ""
    if region.difference is not None:
        whisker = None
        if region.low is not None and region.high is not None:
            whisker = (region.high - region.low) / 2
            interval = f"{number(region.low)} to {number(region.high)}"
        bar = drawing(region.difference, ends, whisker)
    cells = [("number", number(region.difference)), ("number", interval)]
    cells += [("number", number(value)) for value in (region.p, region.q, region.g)]
    return (
        f'<tr><th>{region_button(number_of, place, region.name)}</th><td class="bar">{bar}</td>'
        + "".join(f'<td class="{kind}">{html.escape(cell)}</td>' for kind, cell in cells)
        + "</tr>"
    )
