"""Write heatmaps: NIfTI in the scan's own space, with a JSON sidecar."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.file_kinds import WRITTEN, scan_suffix
from pyadx.data.geometry import KNOWN_CODES, MNI, says_mni
from pyadx.data.scans import Scan
from pyadx.files import check_output_file, replacing


def check_heatmap_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check that a heatmap can be written to a path, before any work starts.

    Raises
    ------
    ValueError
        If the name does not end in ``.nii`` or ``.nii.gz``, the folder does not exist or cannot be
        written to, or the heatmap or its sidecar is already there and ``overwrite`` is false.
    """
    target = Path(path)
    if scan_suffix(target) not in WRITTEN:
        raise ValueError(f"{target}: a heatmap is written as .nii.gz or .nii")
    for file in (target, sidecar_path(target)):
        check_output_file(file, overwrite=overwrite)
    return target


def scores_path(out: str | os.PathLike[str]) -> Path:
    """Return the file for the scores of an occlusion run until its heatmap is written."""
    target = Path(out)
    return target.with_name(target.name + ".scores")


def sidecar_path(heatmap: str | os.PathLike[str]) -> Path:
    """Return the path of a heatmap's JSON sidecar: the same name, ending in ``.json``."""
    target = Path(heatmap)
    suffix = scan_suffix(target)
    if suffix in WRITTEN:
        return target.with_name(target.name[: -len(suffix)] + ".json")
    return target.with_suffix(".json")


def image_on_scan(values: np.ndarray, scan: Scan, description: str) -> Any:
    """Return a NIfTI image of values on a scan's voxels.

    The header is new. Only geometry, units and space codes are copied from the scan, because other fields
    of a header (extensions, descriptions, names) may hold private data. If the scan is in MNI space, both
    codes say so, for programs that read only one of them.

    Parameters
    ----------
    values : numpy.ndarray
        ``[I, J, K]`` or, several volumes, ``[I, J, K, N]`` in the scan's own axis order.
    scan : Scan
        The scan that defines the voxels.
    description : str
        Description in the header, at most 79 characters.
    """
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_shape(values.shape)
    header.set_data_dtype(values.dtype)
    forms = (None, None) if scan.geometry is None else (scan.geometry.sform, scan.geometry.qform)
    both_mni = scan.geometry is not None and says_mni(scan.geometry, scan.data.shape)
    for form, place, code in zip(forms, (header.set_sform, header.set_qform), (2, 0), strict=True):
        if both_mni:
            place(scan.affine, MNI)
        elif form is None:
            place(scan.affine, code)
        else:
            place(form.affine, form.code if form.code in KNOWN_CODES else 2)
    if scan.geometry is None or scan.geometry.units == "mm":
        header.set_xyzt_units("mm")
    header["descrip"] = description[:79].encode()
    return nib.Nifti1Image(values, header.get_best_affine(), header)


def write_heatmap(
    path: str | os.PathLike[str], heatmap: np.ndarray, scan: Scan, sidecar: Mapping[str, Any]
) -> None:
    """Write a heatmap as float32 NIfTI with the scan's shape, affine and orientation.

    Nothing else is copied from the scan's header; see `image_on_scan`.

    Image and sidecar are first written to temporary files and then renamed, so that an interruption
    leaves neither of them incomplete.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz`` file.
    heatmap : numpy.ndarray
        Values in the scan's own axis order, of its shape.
    scan : Scan
        The scan that was explained.
    sidecar : mapping
        Plain data about the origin of the heatmap.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    import nibabel as nib

    if heatmap.shape != scan.data.shape:
        raise ValueError(f"the heatmap has shape {heatmap.shape}, the scan {scan.data.shape}")
    image = image_on_scan(heatmap.astype(np.float32), scan, f"pyadx {sidecar.get('method', 'heatmap')}")
    text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    with replacing(Path(path), sidecar_path(path)) as (partial_image, partial_note):
        nib.save(image, partial_image)
        partial_note.write_text(text, encoding="utf-8")
