"""Writing heatmaps: NIfTI in the scan's own space, with a JSON sidecar."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.scans import Scan
from pyadx.files import check_output_file, replacing

_SUFFIXES = (".nii.gz", ".nii")


def check_heatmap_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check that a heatmap can be written to a path, before any work starts.

    Raises
    ------
    ValueError
        If the name does not end in ``.nii`` or ``.nii.gz``, the folder does not exist or cannot be
        written to, or the heatmap or its sidecar is already there and ``overwrite`` is false.
    """
    target = Path(path)
    if not target.name.endswith(_SUFFIXES) or target.name in _SUFFIXES:
        raise ValueError(f"{target}: a heatmap is written as .nii.gz or .nii")
    for file in (target, sidecar_path(target)):
        check_output_file(file, overwrite=overwrite)
    return target


def scores_path(out: Path) -> Path:
    """Return where the finished scores of an occlusion run stand until its heatmap is written."""
    return out.with_name(out.name + ".scores")


def sidecar_path(heatmap: Path) -> Path:
    """Return the path of a heatmap's JSON sidecar: the same name, ending in ``.json``."""
    name = heatmap.name
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return heatmap.with_name(name[: -len(suffix)] + ".json")
    return heatmap.with_suffix(".json")


def write_heatmap(path: Path, heatmap: np.ndarray, scan: Scan, sidecar: Mapping[str, Any]) -> None:
    """Write a heatmap as float32 NIfTI with the scan's shape, affine and orientation.

    Image and sidecar are both written beside their targets first and then renamed, so an interrupted
    write leaves neither half-written.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz`` file.
    heatmap : numpy.ndarray
        Values in the scan's own axis order, of its shape.
    scan : Scan
        The scan that was explained.
    sidecar : mapping
        Plain data that says how the heatmap was made.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    import nibabel as nib

    if heatmap.shape != scan.data.shape:
        raise ValueError(f"the heatmap has shape {heatmap.shape}, the scan {scan.data.shape}")
    header = None
    if isinstance(scan.image.header, nib.Nifti1Header):
        # Keeps units and the codes that say which space the affine leads to.
        header = nib.Nifti1Header.from_header(scan.image.header)
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        header["cal_min"] = header["cal_max"] = 0
    image = nib.Nifti1Image(heatmap.astype(np.float32), scan.affine, header)
    image.header["descrip"] = f"pyadx {sidecar.get('method', 'heatmap')}"[:79].encode()
    if header is None:
        image.header.set_xyzt_units("mm")

    text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    note = sidecar_path(path)
    with replacing(path, note) as (partial_image, partial_note):
        nib.save(image, partial_image)
        partial_note.write_text(text, encoding="utf-8")
