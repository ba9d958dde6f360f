"""Read a cohort of any supported layout."""

import os
from collections.abc import Sequence
from pathlib import Path

from pyadx.data.cohort.adni import ID_COLUMN, read_adni
from pyadx.data.cohort.bids import read_bids
from pyadx.data.cohort.plain import read_plain
from pyadx.data.cohort.reading import CohortReading
from pyadx.data.cohort.records import Cohort
from pyadx.data.cohort.tables import read_header


def read_cohort(
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = ("NC", "AD"),
    *,
    images: str | os.PathLike[str] | None = None,
    group_column: str | None = None,
    derivative: str | None = None,
    space: str | None = None,
    sessions: str = "earliest",
) -> Cohort:
    """Read a cohort: the earliest scan of each subject in the requested classes.

    A ``UserWarning`` reports legal but doubtful contents (sessions without dates, rows without files).

    Parameters
    ----------
    path : path
        A BIDS data set (folder with ``participants.tsv`` or ``sub-*`` folders), an ADNI download (its CSV,
        or the folder that holds one), or a plain table with ``path``, ``subject``, ``label`` and
        optionally ``date``.
    class_names : sequence of str, optional
        Classes in the order of the network's outputs. Common synonyms (``CN``, ``control``, ``dementia``)
        are recognised. ``None`` reads the scans of all groups, including scans without a diagnosis; labels
        are then those of the table.
    images : path, optional
        ADNI: the folder of images; by default the table's folder.
    group_column : str, optional
        Column with the diagnosis, if it has an unusual name.
    derivative, space : str, optional
        BIDS: see `pyadx.data.cohort.bids.read_bids` and `CohortReading`.
    sessions : {"earliest", "all"}
        ``all`` reads every scan of every subject.

    Returns
    -------
    Cohort
        Scans, and excluded scans with reasons.

    Raises
    ------
    ValueError
        If the layout is none of these, an option belongs to another layout, a table is incomplete, scans
        are in several spaces and none was chosen, or a class has no scans.
    """
    source = Path(path)
    folder = None if images is None else os.fspath(images)
    reading = CohortReading(folder, group_column, derivative, space, sessions)
    names = None if class_names is None else tuple(class_names)
    if names is not None and (len(names) < 2 or len(set(names)) != len(names)):
        raise ValueError(f"a cohort needs two or more different classes, got {', '.join(names) or 'none'}")
    if not source.exists():
        raise ValueError(f"{source}: no such cohort")
    if source.is_dir():
        if (source / "participants.tsv").is_file():
            return read_bids(source, names, _of_layout(source, "a BIDS data set", reading, "images"))
        tables = _adni_tables(source)
        if not tables and any(one.is_dir() for one in source.glob("sub-*")):
            return read_bids(source, names, _of_layout(source, "a BIDS data set", reading, "images"))
        if len(tables) != 1:
            what = "several ADNI tables" if tables else "neither participants.tsv nor an ADNI table"
            raise ValueError(f"{source}: holds {what}; name the table itself")
        source = tables[0]
    if _is_adni(source):
        return read_adni(source, names, _of_layout(source, "an ADNI table", reading, "derivative", "space"))
    foreign = ("images", "derivative", "space")
    return read_plain(source, names, _of_layout(source, "a plain table", reading, *foreign))


def _of_layout(source: Path, what: str, reading: CohortReading, *foreign: str) -> CohortReading:
    """Refuse options that have no effect in this layout, because the user expects an effect."""
    given = [f"--{name}" for name in foreign if getattr(reading, name) is not None]
    if given:
        raise ValueError(f"{source}: is {what}, to which {' and '.join(given)} does not apply")
    return reading


def _adni_tables(folder: Path) -> list[Path]:
    found = []
    for table in sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv"):
        try:
            if _is_adni(table):
                found.append(table)
        except ValueError:
            continue  # an unrelated table that cannot be read
    return found


def _is_adni(table: Path) -> bool:
    return ID_COLUMN.casefold() in (name.casefold() for name in read_header(table).columns)
