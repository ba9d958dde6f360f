"""Pieces of HTML: tables and pictures. What they are given is text, and stays text."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def image(file: Path, words: str) -> str:
    """Return an image element that holds a PNG file."""
    encoded = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{encoded}">'


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]], kinds: Sequence[Sequence[str]] = ()) -> str:
    """Return a table.

    Parameters
    ----------
    head : sequence
        What stands above the columns.
    rows : sequence of sequence
        Cells.
    kinds : sequence of sequence of str
        Class of every cell, where they have any.
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
    """Return a number as tables show it; empty if it is not known."""
    return "" if value is None else f"{value:.4g}"


def shortened(name: str, most: int) -> str:
    """Return a name of at most so many letters; an ellipsis stands for what is cut."""
    return name if len(name) <= most else name[: most - 1] + "…"
