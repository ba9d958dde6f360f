"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """Return a table whose first columns (text) are left-aligned and whose others (numbers) right-aligned.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : iterable of sequence
        Cells. Other objects than text are converted with ``str``.
    words : int
        Number of text columns.

    Raises
    ------
    ValueError
        If a row has more or fewer cells than there are columns.
    """
    lines = [_row(columns), _row(["---"] * words + ["---:"] * (len(columns) - words))]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells, the table {len(columns)} columns")
        lines.append(_row(row))
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
