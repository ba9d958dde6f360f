"""Pieces of HTML: tables and images. All text that they receive is escaped."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def image(file: Path, words: str) -> str:
    """Return an ``img`` element with a PNG file embedded; ``words`` is its alternative text."""
    encoded = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{encoded}">'


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]], kinds: Sequence[Sequence[str]] = ()) -> str:
    """Return an HTML table.

    Parameters
    ----------
    head : sequence
        Column headings.
    rows : sequence of sequence
        Cells, row by row.
    kinds : sequence of sequence of str
        CSS class of every cell, or an empty string; an empty sequence gives no cell a class.
    """
    top = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in head)
    body = []
    for place, row in enumerate(rows):
        own = kinds[place] if kinds else [""] * len(row)
        cells = (
            f"<td{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{html.escape(str(cell))}</td>"
            for cell, kind in zip(row, own, strict=True)
        )
        body.append("<tr>" + "".join(cells) + "</tr>")
    return f'<div class="scroll"><table><tr>{top}</tr>{"".join(body)}</table></div>'


def number(value: float | None) -> str:
    """Format a number for tables with four significant digits; ``None`` becomes an empty string."""
    return "" if value is None else f"{value:.4g}"


def shortened(name: str, most: int) -> str:
    """Shorten a name to at most ``most`` characters, ending in an ellipsis if it was cut."""
    return name if len(name) <= most else name[: most - 1] + "…"
