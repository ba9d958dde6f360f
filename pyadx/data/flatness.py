"""Constant or empty volumes: one check for scans, heatmaps, masks and label volumes."""

from typing import Literal

import numpy as np

Kind = Literal["scan", "heatmap", "mask", "label volume"]
_MEANING: dict[Kind, str] = {
    "scan": "it holds nothing",
    "heatmap": "it singles out no place",
    "mask": "nothing is inside",
    "label volume": "there is no region",
}


def flat_words(values: np.ndarray, kind: Kind) -> str | None:
    """Return a message if a volume is constant or empty, else ``None``.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape, not empty, finite.
    kind : {"scan", "heatmap", "mask", "label volume"}
        A scan or heatmap is flat if all values are equal, a mask or label volume if all are 0.
    """
    low = float(values.min())
    if low != float(values.max()) or (low != 0 and kind in ("mask", "label volume")):
        return None
    return f"every voxel is {low:g}; {_MEANING[kind]}"


def refuse_flat(source: object, values: np.ndarray, kind: Kind) -> None:
    """Raise ``ValueError``, beginning with the source's name, if a volume is constant or empty."""
    words = flat_words(values, kind)
    if words:
        raise ValueError(f"{source}: {words}")
