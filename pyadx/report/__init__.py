"""Figures of scans and heatmaps, and an interactive HTML page to explore them."""

from pyadx.report.dendrograms import save_dendrogram
from pyadx.report.notebook import show
from pyadx.report.page import html_page, save_page
from pyadx.report.panels import save_panels
from pyadx.report.region_figures import save_pair_matrix, save_region_bars

__all__ = [
    "html_page",
    "save_dendrogram",
    "save_page",
    "save_pair_matrix",
    "save_panels",
    "save_region_bars",
    "show",
]
