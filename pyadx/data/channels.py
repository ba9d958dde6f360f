"""Several images of one person, such as T1, T2 and FLAIR, as the channels of one scan."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pyadx.data.grids import resampled_onto
from pyadx.data.scans import Scan, read_scan

_LEAST_OVERLAP = 0.5  # share of the first image's voxels that are not 0


def read_channels(paths: Sequence[str | os.PathLike[str]], scan: Scan) -> list[Scan]:
    """Read further images of a person onto the voxels of the first one.

    Parameters
    ----------
    paths : sequence of path
        Files for `read_scan`, in the space of the first image. They are interpolated linearly on its
        voxels.
    scan : Scan
        The first image.

    Returns
    -------
    list of Scan
        Data on the first image's voxels, with that image's header and affine, and each image's own path.

    Raises
    ------
    ValueError
        If an image cannot be read, or covers less than half of the first image's voxels that are not 0.
    """
    found = []
    for path in paths:
        other = read_scan(path)
        data = resampled_onto(other, scan.affine, scan.data.shape)
        inside = scan.data != 0
        overlap = float((data[inside] != 0).mean()) if inside.any() else 0.0
        if overlap < _LEAST_OVERLAP:
            raise ValueError(
                f"{other.path}: covers {overlap:.0%} of the voxels of {scan.path.name} that are not 0, at "
                f"least {_LEAST_OVERLAP:.0%} is needed; bring both into one space first"
            )
        found.append(replace(scan, path=other.path, data=np.ascontiguousarray(data, np.float32)))
    return found
