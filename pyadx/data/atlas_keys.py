"""Keys of atlases: the names of the numbers in a label volume."""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from pyadx.data.file_kinds import scan_suffix

# Searched beside the volume in this order. mricron writes X.nii.txt, ITK-SNAP X.label.
_BESIDE = (".tsv", ".txt", ".nii.txt", ".xml", ".csv", ".label")
_MOST_BYTES = 4 * 2**20  # for comparison: FreeSurfer's whole colour table has 0.1 MB
_NUMBER_COLUMNS = ("index", "number", "label", "value", "id", "no.", "no")
_NAME_COLUMNS = ("name", "region", "region_name", "label_name", "structure", "abbreviation")
_ITK_SNAP = re.compile(r'(\d+)(?:\s+\d+){3}\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"')
_FORMS = (
    "expected a BIDS _dseg.tsv (index, name), text or CSV of number and name, a label table of ITK-SNAP "
    "or an XML atlas of FSL"
)


def find_key(labels: str | os.PathLike[str]) -> Path | None:
    """Return the key with the same name beside a label volume, or ``None``.

    For ``X.nii.gz`` it is the first file among ``X.tsv``, ``X.txt``, ``X.nii.txt``, ``X.xml``, ``X.csv``
    and ``X.label``.
    """
    volume = Path(labels)
    stem = volume.name[: -len(scan_suffix(volume) or volume.suffix)]
    beside = (volume.with_name(stem + suffix) for suffix in _BESIDE)
    return next((file for file in beside if file.is_file()), None)


def read_key(path: str | os.PathLike[str]) -> dict[int, str]:
    """Read the key of a label volume.

    Parameters
    ----------
    path : path
        BIDS ``_dseg.tsv``; text of number and name separated by commas, tabs or blanks (this includes
        FreeSurfer's and mricron's tables); ITK-SNAP's label descriptions; FSL's XML atlas, whose numbers
        count from 1 in the volume if it is probabilistic. The format is recognised by the contents, not
        by the suffix.

    Returns
    -------
    dict
        Names by number.

    Raises
    ------
    ValueError
        If the file is missing, larger than 4 MiB, not text, has none of these formats, or names a number
        twice.
    """
    source = Path(path)
    text = _text(source)
    start = text.lstrip()[:1]
    try:
        rows = _xml_rows(source, text) if start == "<" else _text_rows(source, text)
    except (ElementTree.ParseError, csv.Error) as error:
        raise ValueError(f"{source}: damaged ({error}); {_FORMS}") from error
    if not rows:
        raise ValueError(f"{source}: holds no number with a name; {_FORMS}")
    key: dict[int, str] = {}
    for number, name in rows:
        if number in key and key[number] != name:
            raise ValueError(
                f"{source}: names the number {number} twice, {key[number]!r} and {name!r}; keep one of them"
            )
        key[number] = name
    return key


def read_groups(path: str | os.PathLike[str], columns: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Read the groups of regions from further columns of a key, such as hemisphere and lobe.

    Parameters
    ----------
    path : path
        A key separated by tabs, commas or semicolons, with a header line.
    columns : sequence of str
        The columns of the groups, the outermost first. An empty cell or ``n/a`` means that the region
        belongs to no further group.

    Returns
    -------
    dict
        Groups by number.

    Raises
    ------
    ValueError
        If the key has no such column, or cannot be read.
    """
    source = Path(path)
    read_key(source)  # raises the error of a file that is not a key
    lines = [
        line for line in _text(source).splitlines() if line.strip() and not line.startswith(("#", "//"))
    ]
    separator = next((mark for mark in "\t,;" if mark in lines[0]), None)
    if separator is None:
        raise ValueError(f"{source}: groups need a table with a header line")
    if separator == "\t":  # BIDS knows no quoting
        head, *rows = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    else:
        head, *rows = csv.reader(lines, delimiter=separator)
    names = [_clean(cell).lower() for cell in head]
    number = _column(source, names, _NUMBER_COLUMNS)
    chosen = []
    for column in columns:
        if column.strip().lower() not in names:
            raise ValueError(f"{source}: has no column {column!r}; columns are {', '.join(head)[:200]}")
        chosen.append(names.index(column.strip().lower()))
    groups = {}
    for row in rows:
        path_of = [_clean(row[at]) if at < len(row) else "" for at in chosen]
        last = next((at for at, name in enumerate(path_of) if name in ("", "n/a")), len(path_of))
        groups[int(row[number])] = tuple(path_of[:last])
    return groups


def _text(source: Path) -> str:
    if not source.is_file():
        raise ValueError(f"{source}: no such file")
    size = source.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"{source}: has {size / 2**20:.1f} MiB, a key has at most 4; {_FORMS}")
    raw = source.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text):
        raise ValueError(f"{source}: is not text (a table of colours, perhaps); {_FORMS}")
    return text


def _xml_rows(source: Path, text: str) -> list[tuple[int, str]]:
    # XML entities are dangerous, because they can read files or fill memory. They need a document type.
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ValueError(f"{source}: declares a document type or entities, which no atlas of FSL does")
    root = ElementTree.fromstring(text)
    kind = (root.findtext("header/type") or "").strip().lower()
    if root.tag != "atlas":
        raise ValueError(
            f"{source}: is XML, but not an atlas of FSL (its first element is <{root.tag[:40]}>)"
        )
    first = 0 if kind == "label" else 1
    rows = []
    for label in root.iter("label"):
        index, name = label.get("index", ""), _clean("".join(label.itertext()))
        if not (_is_number(index) and name):
            raise ValueError(f"{source}: has a <label> without index or name")
        rows.append((int(index) + first, name))
    return rows


def _text_rows(source: Path, text: str) -> list[tuple[int, str]]:
    lines = [line.strip() for line in text.splitlines()]
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith(("#", "//"))]
    if not numbered:
        return []
    snap = [_ITK_SNAP.fullmatch(line) for _, line in numbered]
    if all(snap):
        return [(int(match[1]), _clean(match[2])) for match in snap if match]
    for separator in ("\t", ",", ";"):
        if all(separator in line for _, line in numbered):
            return _table_rows(source, numbered, separator)
    return _blank_rows(source, numbered)


def _table_rows(source: Path, lines: list[tuple[int, str]], separator: str) -> list[tuple[int, str]]:
    written = [line for _, line in lines]
    if separator == "\t":  # BIDS knows no quoting
        cells = list(csv.reader(written, delimiter=separator, quoting=csv.QUOTE_NONE))
    else:
        cells = list(csv.reader(written, delimiter=separator))
    if len(cells) != len(lines):
        raise ValueError(f"{source}: a quoted name spans several lines")
    head = [cell.strip().lower() for cell in cells[0]]
    number, name, first = 0, 1, 0
    if not _is_number(head[0]) or "name" in head:
        number, name = _column(source, head, _NUMBER_COLUMNS), _column(source, head, _NAME_COLUMNS)
        first = 1
    rows = []
    for (at, _), row in list(zip(lines, cells, strict=True))[first:]:
        if max(number, name) >= len(row) or not _is_number(row[number]) or not _clean(row[name]):
            raise ValueError(f"{source}: line {at} is not a whole number and a name; {_FORMS}")
        rows.append((int(row[number]), _clean(row[name])))
    return rows


def _column(source: Path, head: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in head:
            return head.index(name)
    raise ValueError(
        f"{source}: has the columns {', '.join(head)[:200]}, none called {' or '.join(names[:2])}; {_FORMS}"
    )


def _blank_rows(source: Path, lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Read number and name. Numbers after the name (colours, other numbers) are ignored."""
    numbers: list[int] = []
    bare: list[str] = []
    full: list[str] = []
    for at, line in lines:
        number, *words = line.split()
        if not _is_number(number) or not words:
            if at == lines[0][0] and not numbers and len(lines) > 1:
                continue  # a header line
            raise ValueError(f"{source}: line {at} is not a whole number and a name; {_FORMS}")
        last = len(words)
        while last > 1 and _is_number(words[last - 1]):
            last -= 1
        numbers.append(int(number))
        bare.append(_clean(" ".join(words[:last])))
        full.append(_clean(" ".join(words)))
    # "17 BA 17": here the number after the name belongs to it, because without it all names are equal.
    same = len(bare) > 1 and len(set(bare)) == 1
    return list(zip(numbers, full if same else bare, strict=True))


def _is_number(word: str) -> bool:
    return re.fullmatch(r"\s*[0-9]{1,9}\s*", word) is not None


def _clean(name: str) -> str:
    return " ".join(name.strip().strip('"').split())
