"""One label volume for many subjects: the majority label at every voxel."""

from collections.abc import Iterable

import numpy as np

from pyadx.data.regions import labels_on_scan
from pyadx.data.scans import Scan


def majority_labels(volumes: Iterable[Scan], grid: Scan) -> np.ndarray:
    """Return the most frequent label at every voxel; the smaller label if two are equally frequent.

    Parameters
    ----------
    volumes : iterable of Scan
        Label volumes of subjects in one common space, on any grid; 0 is the background.
    grid : Scan
        Image that defines the voxels of the result.

    Returns
    -------
    numpy.ndarray
        int32 ``[I, J, K]``.

    Raises
    ------
    ValueError
        If there is no volume, or a volume does not overlap the grid.
    """
    votes: dict[int, np.ndarray] = {}
    subjects = 0
    for volume in volumes:
        subjects += 1
        labels = labels_on_scan(volume, grid)
        for label in np.unique(labels).tolist():
            count = votes.setdefault(label, np.zeros(labels.shape, np.uint16))
            count += labels == label
    if not subjects:
        raise ValueError("there is no label volume")
    found, most = np.zeros(grid.data.shape, np.int32), np.zeros(grid.data.shape, np.uint16)
    for label in sorted(votes):
        better = votes[label] > most
        found[better], most[better] = label, votes[label][better]
    return found
