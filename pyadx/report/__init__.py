"""Figures of scans and heatmaps, and the page to explore them."""

from pyadx.report.notebook import show
from pyadx.report.page import html_page, save_page
from pyadx.report.panels import save_panels

__all__ = ["html_page", "save_page", "save_panels", "show"]
