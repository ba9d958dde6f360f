"""Read the folder of ``pyadx group`` for its page."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.groups.facts import SCHEMA
from pyadx.commands.groups.request import NOTE
from pyadx.data.cohort.tables import Row, Table, read_table
from pyadx.data.scans import Scan, read_volume
from pyadx.report.group_findings import findings, shuffled_words, significant
from pyadx.report.group_sections import GroupRegion
from pyadx.report.sidecars import shareable

_SAME_P = 1e-6  # tolerance of -log10 p, because the images are float32


@dataclass(frozen=True, eq=False)
class GroupResults:
    """Contents of the folder for the page.

    Attributes
    ----------
    folder : Path
        The folder of the results.
    groups : tuple of str
        The two groups; the contrast is the first minus the second.
    space, atlas : str or None
        Space of the maps; file of the regions.
    method : str
        Spelling of the method; "heatmap" if no sidecar names it.
    findings : tuple of str
        Findings, as sentences.
    shuffled : str
        Results with shuffled labels; empty if there were no such controls.
    significant : int
        Number of voxels with a family-wise p below the level.
    alpha : float
        The family-wise level.
    methods : str
        The methods text.
    subjects : tuple of dict
        ``participant_id``, ``session``, ``group``, ``factor``, in the order of ``second_level.tsv``.
    counts : dict
        Number of subjects in each group.
    images : dict
        Files by the subject of an image and its statistic.
    mask : str
        File of the mask.
    table : str or None
        File of the regions of the contrast.
    labels : str or None
        Label volume on the grid of the maps.
    """

    folder: Path
    groups: tuple[str, str]
    space: str | None
    atlas: str | None
    method: str
    findings: tuple[str, ...]
    shuffled: str
    significant: int
    alpha: float
    methods: str
    subjects: tuple[dict[str, Any], ...]
    counts: dict[str, int]
    images: dict[tuple[str, str], str]
    mask: str
    table: str | None
    labels: str | None

    @property
    def words(self) -> str:
        """The contrast."""
        return " - ".join(self.groups)

    def image(self, desc: str, stat: str) -> Scan:
        """Read a map.

        Raises
        ------
        ValueError
            If the folder has no such map, or the map cannot be read.
        """
        try:
            return read_volume(self.folder / self.images[desc, stat])
        except KeyError:
            raise ValueError(f"{self.folder / NOTE}: lists no {stat} map of {desc}") from None

    def contrast(self, stat: str) -> Scan:
        """Read a map of the contrast."""
        return self.image("minus".join(self.groups), stat)

    def inside(self, grid: Scan) -> np.ndarray:
        """Read the mask, bool on the grid of the maps."""
        mask = read_volume(self.folder / self.mask)
        if not mask.lies_on(grid):
            raise ValueError(f"{mask.path}: is not on the voxels of the maps")
        return mask.data > 0

    def found(self) -> np.ndarray:
        """Return where the family-wise p is below the level, bool ``[I, J, K]``."""
        return self.contrast("logpfwe").data > -math.log10(self.alpha) + _SAME_P

    def regions(self) -> list[GroupRegion]:
        """Read the regions of the contrast, sorted by q; regions without a q are last."""
        if self.table is None:
            return []
        table = read_table(self.folder / self.table)
        names = ("mean", "ci_low", "ci_high", "p", "p_fdr", "hedges_g")
        name, group, *places = (table.needed(column) for column in ("name", "group", *names))
        rows = [
            GroupRegion(row[name], *(_number(table, row, place) for place in places))
            for row in table.rows
            if row[group] == self.words
        ]
        inf = math.inf
        return sorted(
            rows, key=lambda one: (inf if one.q is None else one.q, inf if one.p is None else one.p)
        )


def read_group(folder: Path) -> GroupResults:
    """Read ``group.json``.

    Raises
    ------
    ValueError
        If it is missing, or does not have the form that this version of ``pyadx group`` writes.
    """
    note = folder / NOTE
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: has no {NOTE}; give the folder that pyadx group wrote") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{note}: cannot be read as JSON ({error})") from None
    if not isinstance(facts, dict) or facts.get("command") != "pyadx group":
        raise ValueError(f"{note}: was not written by pyadx group")
    if facts.get("schema") != SCHEMA:
        raise ValueError(
            f"{note}: has schema {facts.get('schema')}; run pyadx group again with this version"
        )
    try:
        return _results(folder, shareable(facts))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{note}: does not have the form that pyadx group writes ({error!r})") from None


def _results(folder: Path, facts: dict[str, Any]) -> GroupResults:
    groups = (str(facts["contrast"]["first"]), str(facts["contrast"]["second"]))
    files = [one for one in facts["files"] if one["file"] == os.path.basename(one["file"])]
    label = "".join(letter for letter in "minus".join(groups) if letter.isascii() and letter.isalnum())
    tables = [one["file"] for one in files if one["file"].endswith(f"_desc-{label}_regions.tsv")]
    regions = facts["regions"]
    return GroupResults(
        folder=folder,
        groups=groups,
        space=facts["maps"]["space"],
        atlas=str(regions["atlas"]) if regions else None,
        method=str(facts["maps"]["spelling"] or "heatmap"),
        findings=tuple(findings(facts)),
        shuffled=shuffled_words(facts["null"]) if facts["null"] else "",
        significant=significant(facts),
        alpha=float(facts["voxels"]["alpha"]),
        methods=str(facts["methods"]),
        subjects=tuple(
            {name: one[name] for name in ("participant_id", "session", "group", "factor")}
            for one in facts["sample"]["subjects"]
        ),
        counts={str(group): int(count) for group, count in facts["sample"]["n"].items()},
        images={(one["desc"], one["stat"]): one["file"] for one in files if one["kind"] == "map"},
        mask=next((one["file"] for one in files if one["kind"] == "mask"), "group_desc-tested_mask.nii.gz"),
        table=tables[0] if tables and regions else None,
        labels=next((one["file"] for one in files if one["kind"] == "labels"), None),
    )


def _number(table: Table, row: Row, place: int) -> float | None:
    cell = row[place]
    if cell in ("n/a", ""):
        return None
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{row.place}: {table.columns[place]} is {cell!r}, not a number") from None
    return value if math.isfinite(value) else None
