"""Hierarchical 3D segmentation by ultrametric contour maps; it needs no network."""

from pyadx.segmentation.contours import ContourMap
from pyadx.segmentation.hierarchy import Hierarchy
from pyadx.segmentation.nested_labels import from_labels
from pyadx.segmentation.options import PRESETS
from pyadx.segmentation.pipeline import ucm
from pyadx.segmentation.tree import load

__all__ = ["PRESETS", "ContourMap", "Hierarchy", "from_labels", "load", "ucm"]
