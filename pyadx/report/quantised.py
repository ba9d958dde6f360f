"""Volumes quantised to 8 bits, as small NIfTI files for a page."""

import gzip

import numpy as np


def quantised_nifti(values: np.ndarray, affine: np.ndarray, *, exact: bool = False) -> bytes:
    """Return a gzipped NIfTI-1 file of a volume in 8 bits.

    Parameters
    ----------
    values : numpy.ndarray
        ``[I, J, K]``, finite. They are stored in 255 steps from 0 to the maximum or, if some are negative,
        in 127 steps on each side of 0. Scaled by the header's slope they are right to within half a step.
    affine : numpy.ndarray
        Voxel-to-world matrix ``[4, 4]``, mm.
    exact : bool
        Store non-negative integers, such as labels, unchanged; in 16 bits if the largest exceeds 255.

    Returns
    -------
    bytes
        Content of the file; the same values always give the same bytes.
    """
    import nibabel as nib

    values = np.asarray(values)
    if exact:
        stored, step = values.astype(np.uint8 if values.max() < 256 else np.int16), 1.0
    else:
        signed = bool(values.min() < 0)
        steps = 127 if signed else 255
        step = float(np.abs(values).max()) / steps or 1.0
        stored = np.rint(values / step).astype(np.int8 if signed else np.uint8)
    image = nib.Nifti1Image(stored, affine, dtype=stored.dtype)
    image.header.set_slope_inter(step, 0)
    image.header.set_xyzt_units("mm")
    if exact:
        image.header["intent_code"] = 1002  # NIFTI_INTENT_LABEL: viewers give each number its own colour
    # Written by hand, because nibabel would apply the slope to the array a second time on saving.
    image.header["vox_offset"] = 352
    raw = image.header.binaryblock + b"\0\0\0\0" + stored.tobytes(order="F")
    return gzip.compress(raw, compresslevel=6, mtime=0)
