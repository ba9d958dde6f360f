"""Scans in, heatmaps out: NIfTI, MGZ and Analyze volumes with their affines."""

from pyadx.data.grids import FittedScan, fit_to_grid, map_to_scan
from pyadx.data.heatmaps import write_heatmap
from pyadx.data.intensity import scale_intensity
from pyadx.data.reference_scans import read_reference
from pyadx.data.scans import Scan, read_scan

__all__ = [
    "FittedScan",
    "Scan",
    "fit_to_grid",
    "map_to_scan",
    "read_reference",
    "read_scan",
    "scale_intensity",
    "write_heatmap",
]
