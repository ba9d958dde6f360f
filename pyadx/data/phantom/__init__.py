"""A synthetic cohort on real anatomy, with a planted disease whose place is known."""

from pyadx.data.phantom.dataset import (
    check_phantom,
    cohort_grid,
    is_synthetic,
    planted_file,
    planted_regions,
    save_synthetic,
    twin_file,
    write_phantom,
)
from pyadx.data.phantom.subject import Person, SyntheticScan, draw_people, make_scan

__all__ = [
    "Person",
    "SyntheticScan",
    "check_phantom",
    "cohort_grid",
    "draw_people",
    "is_synthetic",
    "make_scan",
    "planted_file",
    "planted_regions",
    "save_synthetic",
    "twin_file",
    "write_phantom",
]
