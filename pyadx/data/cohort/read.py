"""Reading a cohort, whichever way it is laid out."""

import os
from collections.abc import Sequence
from pathlib import Path

from pyadx.data.cohort.adni import ID_COLUMN, read_adni
from pyadx.data.cohort.bids import read_bids
from pyadx.data.cohort.plain import read_plain
from pyadx.data.cohort.records import Cohort
from pyadx.data.cohort.tables import read_table


def read_cohort(
    path: str | os.PathLike[str],
    class_names: Sequence[str] = ("NC", "AD"),
    *,
    images: str | os.PathLike[str] | None = None,
    group_column: str | None = None,
    derivative: str | None = None,
) -> Cohort:
    """Read a cohort of scans: one per subject, the earliest, of the classes asked for.

    Parameters
    ----------
    path : path
        A BIDS data set (folder with ``participants.tsv``), an ADNI download (its CSV, or the folder that
        holds one), or a plain table with ``path``, ``subject``, ``label`` and perhaps ``date``.
    class_names : sequence of str
        Classes in the order of the network's outputs; usual other names (``CN``, ``control``, ``dementia``)
        are understood.
    images : path, optional
        ADNI: the folder of images, if it is not the table's.
    group_column, derivative : str, optional
        BIDS: see `pyadx.data.cohort.bids.read_bids`.

    Returns
    -------
    Cohort
        Scans and, with reasons, everything that was left out.

    Raises
    ------
    ValueError
        If the layout is none of these, a table is incomplete, or a class has no scans.
    """
    source = Path(path)
    names = tuple(class_names)
    if len(names) < 2 or len(set(names)) != len(names):
        raise ValueError(f"a cohort needs two or more different classes, got {', '.join(names) or 'none'}")
    if not source.exists():
        raise ValueError(f"{source}: no such cohort")
    if source.is_dir():
        if (source / "participants.tsv").is_file():
            return read_bids(source, names, group_column, derivative)
        tables = [table for table in sorted(source.glob("*.csv")) if _is_adni(table)]
        if len(tables) != 1:
            what = "several ADNI tables" if tables else "neither participants.tsv nor an ADNI table"
            raise ValueError(f"{source}: holds {what}; name the table itself")
        source = tables[0]
    if _is_adni(source):
        return read_adni(source, names, None if images is None else Path(images))
    return read_plain(source, names)


def _is_adni(table: Path) -> bool:
    return ID_COLUMN in read_table(table)[0]
