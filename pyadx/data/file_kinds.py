"""What kind of scan file a name says: one answer for readers, writers, cohorts and commands."""

import os
from pathlib import PurePath

# The longest first, so that `.nii.gz` is not taken for another kind.
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".hdr", ".img")
COMPRESSED = (".nii.gz", ".mgz")
WRITTEN = (".nii.gz", ".nii")  # what heatmaps and labels are written as


def scan_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix by which a file is known as a scan, in lower case, or an empty string.

    Parameters
    ----------
    path : path
        Only its name counts; capitals do not matter.
    """
    name = PurePath(path).name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix) and name != suffix), "")
