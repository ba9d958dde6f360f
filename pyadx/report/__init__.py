"""Figures of scans and heatmaps."""

from pyadx.report.panels import save_panels

__all__ = ["save_panels"]
