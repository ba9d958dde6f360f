"""Write the folder of a group analysis (images, tables, text) as a whole or not at all."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.groups.analysis import Analysis
from pyadx.commands.groups.moving import FOLDER as MOVED
from pyadx.commands.groups.request import NOTE
from pyadx.data.group_maps import MapFile
from pyadx.data.heatmaps import image_on_scan, sidecar_path
from pyadx.data.tsv import write_dictionary, write_tsv
from pyadx.files import replacing, together


class ResultFolder:
    """Writes files into a folder and keeps a list of them; use inside `together`.

    Parameters
    ----------
    folder : Path
        An existing folder.
    analysis : Analysis
        Gives the grid, and the space in file names.
    """

    def __init__(self, folder: Path, analysis: Analysis) -> None:
        self.folder = folder
        self.files: list[dict[str, str]] = []
        self._analysis = analysis

    def name(self, ending: str, **entities: str) -> str:
        """Return a file name such as ``group_space-MNI152_desc-AD_stat-mean_statmap.nii.gz``."""
        space = self._analysis.sample.maps[0].space
        parts = [f"space-{space}"] if space else []
        parts += [f"{key}-{re.sub(r'[^A-Za-z0-9]', '', value)}" for key, value in entities.items()]
        return "_".join(["group", *parts, ending])

    def image(self, values: np.ndarray, desc: str, stat: str, what: str) -> str:
        """Write values of the mask's voxels as a float32 map, 0 outside; return the file name.

        Undefined values also become 0, because many programs cannot handle NaN.
        """
        whole = np.zeros(self._analysis.mask.shape, np.float32)
        whole[self._analysis.mask] = np.nan_to_num(values, nan=0.0)
        name = self.name("statmap.nii.gz", desc=desc, stat=stat)
        self._save_image(name, whole)
        self.files.append({"file": name, "kind": "map", "desc": desc, "stat": stat, "what": what})
        return name

    def mask(self) -> None:
        """Write the mask."""
        name = self.name("mask.nii.gz", desc="tested")
        self._save_image(name, self._analysis.mask.astype(np.uint8))
        self.files.append({"file": name, "kind": "mask", "what": "Voxels that were compared."})

    def labels(self, name: str, labels: np.ndarray, names: Mapping[int, str], what: str) -> None:
        """Write a label volume, and the names of its numbers in a BIDS table beside it."""
        import nibabel as nib

        image = image_on_scan(labels.astype(np.int32), self._analysis.scan, "pyadx group")
        self._write(name, lambda path: nib.save(image, path))
        self.files.append({"file": name, "kind": "labels", "what": what})
        rows = [{"index": int(n), "name": names.get(int(n), str(n))} for n in np.unique(labels[labels > 0])]
        self.table(name.removesuffix(".nii.gz") + ".tsv", ["index", "name"], rows, "Names of its numbers.")

    def table(
        self,
        name: str,
        columns: Mapping[str, str] | Iterable[str],
        rows: Iterable[Mapping[str, Any]],
        what: str,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a table, and a data dictionary beside it if the meaning of columns is given."""
        self._write(name, lambda path: write_tsv(path, columns, rows))
        self.files.append({"file": name, "kind": "table", "what": what})
        if isinstance(columns, Mapping):
            meaning = columns
            note = name.removesuffix(".tsv") + ".json"
            self._write(note, lambda path: write_dictionary(path, meaning, more or {}))
            self.files.append(
                {"file": note, "kind": "dictionary", "what": f"Meaning of the columns of {name}."}
            )

    def text(self, name: str, text: str, what: str) -> None:
        """Write a text file."""
        self._write(name, lambda path: path.write_text(text, encoding="utf-8"))
        self.files.append({"file": name, "kind": "text", "what": what})

    def moved_map(self, path: Path) -> None:
        """Move a map on the common grid, and its sidecar, from the work folder to the results."""
        (self.folder / MOVED).mkdir(exist_ok=True)
        for file in (path, sidecar_path(path)):
            name = f"{MOVED}/{file.name}"
            self._write(name, partial(_take, file))
            self.files.append({"file": name, "kind": "moved", "what": "A map on the common grid."})

    def place_of(self, one: MapFile) -> Path:
        """Return the path of a subject's map, which may not exist yet."""
        return one.path.absolute() if one.moved is None else self.folder.absolute() / MOVED / one.path.name

    def note(self, facts: Mapping[str, Any]) -> None:
        """Write ``group.json``."""
        text = json.dumps({**facts, "files": self.files}, indent=2, ensure_ascii=False, allow_nan=False)
        self._write(NOTE, lambda path: path.write_text(text + "\n", encoding="utf-8"))

    def _save_image(self, name: str, values: np.ndarray) -> None:
        import nibabel as nib

        image = image_on_scan(values, self._analysis.scan, "pyadx group")
        self._write(name, lambda path: nib.save(image, path))

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        with replacing(self.folder / name) as (written,):
            write(written)


def write_results(folder: Path, analysis: Analysis, fill: Callable[[ResultFolder], dict[str, Any]]) -> None:
    """Write all files of ``fill``, and ``group.json`` with the facts that it returns, or nothing.

    Files of an earlier analysis, listed in its ``group.json``, are removed after the new ones are written.
    """
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    before = _files_before(folder)
    results = ResultFolder(folder, analysis)
    try:
        with together():
            results.note(fill(results))
    except BaseException:
        _remove_empty(folder / MOVED)
        if made:
            _remove_empty(folder)
        raise
    for name in before - {one["file"] for one in results.files}:
        (folder / name).unlink(missing_ok=True)
    _remove_empty(folder / MOVED)


def _files_before(folder: Path) -> set[str]:
    try:
        listed = json.loads((folder / NOTE).read_text(encoding="utf-8"))["files"]
        names = {str(one["file"]) for one in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in names if _is_ours(*os.path.split(name))}


def _is_ours(folder: str, name: str) -> bool:
    return (not folder and name.startswith("group_")) or (folder == MOVED and name.startswith("sub-"))


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _take(source: Path, target: Path) -> None:
    """Give a file a second name instead of copying it; its old folder is removed later."""
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
