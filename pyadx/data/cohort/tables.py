"""Read comma- and tab-separated tables; errors name file and line."""

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes
    ----------
    table : Path
        The file.
    line : int
        Line in which the row begins, counted from 1.
    cells : tuple of str
        Cells, stripped, with line breaks replaced by spaces.
    width : int
        Number of cells in the header.
    """

    table: Path
    line: int
    cells: tuple[str, ...]
    width: int

    def __getitem__(self, column: int | None) -> str:
        """Return the cell in a column; an empty text if there is no column.

        Raises
        ------
        ValueError
            If the row has more or fewer cells than the header, so that cells cannot be assigned to columns.
        """
        if len(self.cells) != self.width:
            more = "more" if len(self.cells) > self.width else "fewer"
            raise ValueError(
                f"{self.place} has {len(self.cells)} cells, {more} than the {self.width} of the header"
            )
        return "" if column is None else self.cells[column]

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.table}: line {self.line}"


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes
    ----------
    path : Path
        The file.
    columns : tuple of str
        Names of the columns in the header.
    rows : tuple of Row
        Rows, without empty ones.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def needed(self, *names: str) -> int:
        """Return the index of the column with one of these names; case is ignored.

        Raises
        ------
        ValueError
            If the column is missing (the message lists the existing columns), or occurs twice.
        """
        found = self.optional(*names)
        if found is None:
            there = ", ".join(self.columns)
            raise ValueError(f"{self.path}: has no column {' or '.join(names)}; its columns are {there}")
        return found

    def optional(self, *names: str) -> int | None:
        """Return the index of the first existing column among ``names``, or ``None``.

        Raises
        ------
        ValueError
            If two columns have that name.
        """
        folded = [column.casefold() for column in self.columns]
        for name in names:
            count = folded.count(name.casefold())
            if count > 1:
                raise ValueError(f"{self.path}: has {count} columns {name}; rename all but one")
            if count:
                return folded.index(name.casefold())
        return None


def read_table(path: Path) -> Table:
    """Read a table with a header line.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte order mark. ``.tsv`` is split at tabs without quoting, as in BIDS.
        Only if the header is in quotes, quotes around cells are removed. All other files are CSV.

    Raises
    ------
    ValueError
        If the file is missing, too large, not text, or has no rows, or if a quote of a CSV is not closed.
        A row with more or fewer cells than the header is refused when one of its cells is read.
    """
    table = _read(path, header_only=False)
    if not table.columns or not table.rows:
        raise ValueError(f"{path}: the table has no rows")
    return table


def read_header(path: Path) -> Table:
    """Read only the header, as a table without rows.

    Raises
    ------
    ValueError
        If the file is missing, too large or not text.
    """
    return _read(path, header_only=True)


def _read(path: Path, header_only: bool) -> Table:
    if not path.is_file():
        raise ValueError(f"{path}: no such table")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, too large for a table of a cohort")
    split = _tabs if path.suffix.lower() == ".tsv" else _commas
    columns: tuple[str, ...] = ()
    rows = []
    for line, raw in split(path, _lines(path)):
        cells = tuple(_one_line(cell) for cell in raw)
        if not any(cells):
            continue
        if not columns:
            columns = cells
            if header_only:
                break
            continue
        rows.append(Row(path, line, cells, len(columns)))
    return Table(path, columns, tuple(rows))


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file with their line endings."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007 (the message below needs it)
                yield line
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: cannot be read as a table: after line {number} it is not UTF-8 ({error.reason})"
        ) from None


def _tabs(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Split at tabs. R writes quotes around all text; if the header has them, all quotes are removed."""
    quoted: bool | None = None
    for number, line in enumerate(lines, start=1):
        cells = line.rstrip("\r\n").split("\t")
        if quoted is None and any(cell.strip() for cell in cells):
            quoted = any(_in_quotes(cell) for cell in cells)
        if quoted:
            cells = [_without_quotes(cell) if _in_quotes(cell) else cell for cell in cells]
        yield number, cells


def _in_quotes(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _without_quotes(cell: str) -> str:
    return cell[1:-1].replace('""', '"').replace('\\"', '"')


def _commas(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Split a CSV; a quoted cell may hold commas and line breaks."""
    taken: list[str] = []

    def noted() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = csv.reader(noted())
    width = 0
    while True:
        first = reader.line_num + 1
        taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}: line {first} cannot be read as a table ({error})") from None
        width = width or len(cells)
        if len(taken) > 1:
            _check_quotes(path, first, taken, width)
        yield first, cells


def _check_quotes(path: Path, first: int, lines: Sequence[str], width: int) -> None:
    """Check a row of several lines, because a stray quote would join the following rows to it."""
    last = first + len(lines) - 1
    try:
        list(csv.reader(lines, strict=True))
    except csv.Error:
        raise ValueError(
            f"{path}: line {first}: a quote opens there and is not closed before line {last}; "
            'write "" for a quote that belongs to the text, and quotes around the cell'
        ) from None
    alike = [n for n, line in enumerate(lines[1:], first + 1) if line.count(",") == width - 1 > 0]
    if alike:
        warn(
            f"{path}: line {first}: a quoted cell opens there and ends in line {last}, but line "
            f"{alike[0]} looks like a separate row; if it is one, the quote in line {first} hides it"
        )


def _one_line(cell: str) -> str:
    return " ".join(cell.splitlines()).strip()


def needed_cell(row: Row, column: int, name: str) -> str:
    """Return the text of a cell that must not be empty.

    Raises
    ------
    ValueError
        If the cell is empty; the message names file and line.
    """
    text = row[column]
    if not text:
        raise ValueError(f"{row.place} has no {name}")
    return text


def warn(text: str) -> None:
    """Warn about legal but suspicious contents of a table or a cohort."""
    warnings.warn(text, UserWarning, stacklevel=2)
