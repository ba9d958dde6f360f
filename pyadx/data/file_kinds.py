"""Kinds of scan files by suffix, for readers, writers, cohorts and commands."""

import os
from pathlib import PurePath

# The longest suffix first, so that `.nii.gz` is not read as another kind.
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".hdr", ".img")
COMPRESSED = (".nii.gz", ".mgz")
WRITTEN = (".nii.gz", ".nii")  # suffixes of heatmaps and labels


def scan_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a scan file in lower case, or an empty string for other files.

    Parameters
    ----------
    path : path
        Only the name is used; case is ignored.
    """
    name = PurePath(path).name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix) and name != suffix), "")
