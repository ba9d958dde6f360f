"""Read scans and write heatmaps: NIfTI, MGZ and Analyze volumes with their affines."""

from pyadx.data.atlas_keys import read_key
from pyadx.data.grids import FittedScan, fit_to_card, fit_to_grid, map_to_scan
from pyadx.data.heatmaps import write_heatmap
from pyadx.data.inputs import prepared_volume
from pyadx.data.intensity import scale_intensity
from pyadx.data.reference_scans import read_reference
from pyadx.data.region_tables import region_table
from pyadx.data.scans import Scan, read_scan

__all__ = [
    "FittedScan",
    "Scan",
    "fit_to_card",
    "fit_to_grid",
    "map_to_scan",
    "prepared_volume",
    "read_key",
    "read_reference",
    "read_scan",
    "region_table",
    "scale_intensity",
    "write_heatmap",
]
