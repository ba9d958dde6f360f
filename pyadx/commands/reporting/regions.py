"""``pyadx regions``: a table of a heatmap's values in the regions of an atlas."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.atlas_keys import find_key, read_key
from pyadx.data.flatness import flat_words, refuse_flat
from pyadx.data.freesurfer import refuse_other_atlas
from pyadx.data.freesurfer_names import NAMES
from pyadx.data.heatmaps import sidecar_path
from pyadx.data.region_tables import COLUMNS, region_table, usual_threshold
from pyadx.data.regions import labels_on_scan, read_labels
from pyadx.data.scans import Scan, read_volume
from pyadx.data.tsv import write_tsv
from pyadx.files import check_output_file, replacing

FREESURFER = "FreeSurferColorLUT"


@dataclass(frozen=True)
class RegionsRequest:
    """All inputs and options of a table."""

    heatmap: Path
    regions: Path
    out: Path
    key: Path | None = None
    threshold: float | None = None
    overwrite: bool = False


def run_regions(request: RegionsRequest) -> list[dict[str, Any]]:
    """Write the table, and a description of its columns beside it; return its rows.

    Raises
    ------
    ValueError
        If a file cannot be read, heatmap and atlas are not in the same space, or the table cannot be
        written.
    """
    if request.out.suffix.lower() != ".tsv":
        raise ValueError(f"{request.out}: a table is written as .tsv")
    note = request.out.with_suffix(".json")
    inputs = (
        sidecar_path(request.heatmap),
        sidecar_path(request.regions),
        request.key or find_key(request.regions),
    )
    for file in (request.out, note):
        if any(other is not None and file.absolute() == other.absolute() for other in inputs):
            raise ValueError(
                f"{request.out}: {file.name} belongs to the heatmap or atlas; choose another name"
            )
        check_output_file(file, overwrite=request.overwrite)
    if request.threshold is not None and not np.isfinite(request.threshold):
        raise ValueError(f"--threshold must be a finite number, got {request.threshold}")
    heat, atlas = read_volume(request.heatmap), read_labels(request.regions)
    refuse_flat(atlas.path, atlas.data, "label volume")
    names, source = names_of(atlas, request.key)
    numbers = np.unique(atlas.data[atlas.data > 0]).astype(np.int64)
    words = flat_words(heat.data, "heatmap")
    if words:
        warnings.warn(f"{heat.path}: {words}", UserWarning, stacklevel=2)
    tell_names(numbers, names, source)
    labels = labels_on_scan(atlas, heat)
    limit = usual_threshold(heat.data, labels) if request.threshold is None else request.threshold
    rows = region_table(heat.data, labels, heat.affine, names, threshold=limit, numbers=numbers)
    about = {"heatmap": heat.path.name, "atlas": atlas.path.name, "key": source, "threshold": limit}
    _write(request.out, note, rows, about)
    return rows


def names_of(atlas: Scan, key: Path | None) -> tuple[dict[int, str], str | None]:
    """Return the names of an atlas' numbers, and the source of the names.

    The source is the given key, else a key beside the volume, else FreeSurfer's if the volume looks
    like one of FreeSurfer.
    """
    key = find_key(atlas.path) if key is None else key
    if key is not None:
        return read_key(key), key.name
    try:
        refuse_other_atlas(atlas.path, atlas.data, atlas.affine, "")
    except ValueError:
        return {}, None
    return NAMES, FREESURFER


def tell_names(numbers: np.ndarray, names: dict[int, str], source: str | None) -> None:
    """Warn about numbers of an atlas that have no name.

    Raises
    ------
    ValueError
        If no number has a name.
    """
    unnamed = [str(n) for n in numbers.tolist() if n not in names]
    if source is None:
        warnings.warn(
            "the atlas has no key beside it, so regions are shown as numbers; --key FILE names them",
            UserWarning,
            stacklevel=3,
        )
    elif len(unnamed) == len(numbers):
        raise ValueError(
            f"{source}: names none of the atlas' {len(numbers)} numbers ({', '.join(unnamed[:5])}"
            f"{', ...' if len(unnamed) > 5 else ''}); is it the key of another atlas?"
        )
    elif unnamed:
        warnings.warn(
            f"{source}: has no name for {len(unnamed)} of the atlas' {len(numbers)} numbers "
            f"({', '.join(unnamed[:5])}{', ...' if len(unnamed) > 5 else ''}), which are shown as numbers",
            UserWarning,
            stacklevel=3,
        )


def _write(out: Path, note: Path, rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    dictionary: dict[str, Any] = {
        column: {"Description": words, **({"Units": unit} if unit else {})}
        for column, (words, unit) in COLUMNS.items()
    }
    dictionary["fraction_above"]["Threshold"] = about["threshold"]
    dictionary["Sources"] = {name: about[name] for name in ("heatmap", "atlas", "key")}
    with replacing(out, note) as (partial_table, partial_note):
        write_tsv(partial_table, COLUMNS, rows)
        text = json.dumps(dictionary, indent=2, ensure_ascii=False) + "\n"
        partial_note.write_text(text, encoding="utf-8")
