"""A subject of a synthetic cohort on a network's grid: scan, healthy twin, regions, planted disease."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from pyadx.data.cohort.records import ScanRecord
from pyadx.data.grids import FittedScan, fit_to_card, on_grid
from pyadx.data.inputs import prepared_volume
from pyadx.data.phantom.dataset import planted_file, planted_regions, twin_file
from pyadx.data.regions import find_labels, read_labels, regions_on_scan
from pyadx.data.scans import Scan, read_scan, read_volume
from pyadx.models.card import ModelCard
from pyadx.short_reprs import short_repr

_WINDOW_MM = 14.0  # window of the causal truth: seven voxels of 2 mm, as in the paper's occlusion
_STRIDE_MM = 8.0


@dataclass(frozen=True, eq=False)
class Case:
    """A synthetic subject on a network's grid.

    Attributes
    ----------
    record : ScanRecord
        The scan's record in the cohort.
    fitted : FittedScan
        The scan on the grid.
    volume : Tensor
        The network's input, ``[1, 1, D, H, W]``.
    twin : Tensor, optional
        The same person without the disease, scaled by the same statistics; controls have none.
    inside : numpy.ndarray
        bool ``[D, H, W]``: the brain.
    regions : dict
        Anatomical regions, bool ``[D, H, W]`` by name.
    planted : dict
        Masks of the planted disease, by name; empty for controls.
    """

    record: ScanRecord
    fitted: FittedScan
    volume: Tensor
    twin: Tensor | None
    inside: np.ndarray
    regions: dict[str, np.ndarray]
    planted: dict[str, np.ndarray]

    __repr__ = short_repr


def read_case(record: ScanRecord, cohort: Path, card: ModelCard) -> Case:
    """Read a subject of a synthetic cohort, and resample its volumes to a network's grid.

    Raises
    ------
    ValueError
        If a file is missing, cannot be read, or does not fit the scan.
    """
    fitted = fit_to_card(read_scan(record.path), card)
    on_grid = _as_scan(fitted)
    regions = regions_on_scan(
        read_labels(find_labels(cohort, record.subject, "aseg")), on_grid, union=False
    )
    planted: dict[str, np.ndarray] = {}
    change = planted_file(cohort, record.subject)
    if change.is_file():
        planted = planted_regions(_fitted_beside(change, fitted, card).data)
    return Case(
        record,
        fitted,
        prepared_volume(fitted, card),
        read_twin(record, cohort, fitted, card),
        fitted.data != 0,
        regions,
        planted,
    )


def read_twin(record: ScanRecord, cohort: Path, fitted: FittedScan, card: ModelCard) -> Tensor | None:
    """Return a patient's healthy twin as the network's input, ``[1, 1, D, H, W]``; controls have none.

    Its intensities are scaled by the statistics of the patient's scan. The brightest voxel of each scan is
    noise, and a factor between both scans would look like disease everywhere.

    Raises
    ------
    ValueError
        If it cannot be read, or is not on the scan's voxels.
    """
    path = twin_file(cohort, record.subject)
    if not path.is_file():
        return None
    return prepared_volume(_fitted_beside(path, fitted, card), card, like=fitted)


def truth_window(fitted: FittedScan) -> tuple[int, int]:
    """Return window and stride of the causal truth in voxels of a network's grid: about 14 and 8 mm."""
    size = float(np.linalg.norm(fitted.affine[:3, :3], axis=0).mean())
    window = 2 * round((_WINDOW_MM / size - 1) / 2) + 1
    return max(1, window), max(1, round(_STRIDE_MM / size))


def _fitted_beside(path: Path, fitted: FittedScan, card: ModelCard) -> FittedScan:
    volume = read_volume(path)
    if not volume.lies_on(fitted.scan):
        raise ValueError(f"{path}: is not on the voxels of {fitted.scan.path}")
    return fit_to_card(volume, card)


def _as_scan(fitted: FittedScan) -> Scan:
    return on_grid(fitted)
