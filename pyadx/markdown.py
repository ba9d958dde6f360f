"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """Return a table, the first columns to the left and the others, which hold numbers, to the right.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : iterable of sequence
        Cells; whatever is no text is written with ``str``.
    words : int
        How many columns hold words.

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
