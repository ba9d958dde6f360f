"""The native core; pyadx.segmentation is its face, which checks arguments."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Listener = Callable[[float], None] | None

version: str

def build_info() -> dict[str, str]: ...
def gradient(
    volume: np.ndarray, mask: np.ndarray, spacing: Sequence[float], threads: int, progress: Listener = None
) -> np.ndarray: ...
def chi_square(
    bins: np.ndarray,
    spacing: Sequence[float],
    radii: Sequence[float],
    threads: int,
    progress: Listener = None,
) -> tuple[np.ndarray, np.ndarray]: ...
def ball(spacing: Sequence[float], radii: Sequence[float]) -> dict[str, Any]: ...
def directions() -> list[list[float]]: ...
def watershed(
    relief: np.ndarray, mask: np.ndarray, threads: int, progress: Listener = None
) -> tuple[np.ndarray, int]: ...
def region_graph(
    relief: np.ndarray,
    labels: np.ndarray,
    area: Sequence[int],
    direction: np.ndarray | None,
    cosine: Sequence[Sequence[int]],
    threads: int,
    progress: Listener = None,
    unit: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
def merge_regions(
    pairs: np.ndarray,
    sums: np.ndarray,
    weights: np.ndarray,
    sizes: np.ndarray,
    intensities: np.ndarray,
    linkage: str,
    min_size: int,
    strength_unit: float,
    intensity_unit: float,
    progress: Listener = None,
) -> tuple[np.ndarray, np.ndarray]: ...
def merge_graph_based(
    pairs: np.ndarray,
    sizes: np.ndarray,
    histograms: np.ndarray,
    constant: float,
    min_size: float,
    progress: Listener = None,
) -> tuple[np.ndarray, np.ndarray]: ...
def depth_first(pairs: np.ndarray, altitudes: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]: ...
def affinities(
    strength: np.ndarray,
    direction: np.ndarray,
    number: np.ndarray,
    reach: int,
    scale: float,
    threads: int,
    progress: Listener = None,
) -> tuple[np.ndarray, np.ndarray]: ...
