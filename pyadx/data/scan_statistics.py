"""Compare figures of a scan with their range in the scans that a network was made for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pyadx.inference.background import background_of

LEAST_SCANS = 8  # minimum for statistics; fewer scans would describe single people
_DEVIATIONS = 6.0  # standard deviations from the mean; no scan like the training scans is farther
# Smallest tolerance of a figure, for training scans that hardly differ. For quantiles and background it
# is multiplied by the spread of intensities; for the brain's share it is relative.
_FLOORS = {
    "brain_share": 0.1,
    "background": 0.05,
    "intensity_5": 0.15,
    "intensity_50": 0.15,
    "intensity_95": 0.15,
    "likeness": 0.05,
    "contrast": 0.1,
}
_LABELS = 0.6  # share of neighbours inside the brain with equal values; tissue has few


@dataclass(frozen=True)
class Outside:
    """A figure of a scan that is far outside the range of the training scans.

    Attributes
    ----------
    name : str
        Name of the figure in `scan_figures`.
    value, low, high : float
        The value, and the expected range.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """Description of the deviation, its possible cause, and the figure."""
        side = 0 if self.value < self.low else 1
        return f"{_WORDS[self.name][side]} ({_shown(self.value)}; expected {self._range})"

    @property
    def _range(self) -> str:
        return f"{_shown(self.low)} to {_shown(self.high)}"


_WORDS = {
    "brain_share": (
        "less of the grid holds tissue than in the network's scans: is the brain smaller, or cut off?",
        "more of the grid holds tissue than in the network's scans: is it a whole head instead of a "
        "brain, or is the background not 0?",
    ),
    "background": (
        "the grid's outer faces are darker than those of the network's scans",
        "the grid's outer faces are brighter than those of the network's scans: is the background not 0, "
        "or is the scan out of place?",
    ),
    "intensity_5": (
        "dark tissue is darker than in the network's scans",
        "dark tissue is brighter than in the network's scans",
    ),
    "intensity_50": (
        "tissue is darker than in the network's scans",
        "tissue is brighter than in the network's scans",
    ),
    "intensity_95": (
        "bright tissue is darker than in the network's scans",
        "bright tissue is brighter than in the network's scans",
    ),
    # A scan cannot be too similar, so these two have no upper bound.
    "likeness": (
        "the scan is not placed like the network's scans: is it shifted, rotated, or of another size?",
        "",
    ),
    "contrast": (
        "inside the brain the scan does not look like the network's scans: does it have another contrast?",
        "",
    ),
}


def scan_figures(volume: np.ndarray, reference: np.ndarray | None) -> dict[str, float]:
    """Measure the figures of a network's input.

    Parameters
    ----------
    volume : numpy.ndarray
        ``[D, H, W]``, prepared for the network.
    reference : numpy.ndarray or None
        Mean image of training scans on the same grid.

    Returns
    -------
    dict
        ``brain_share``, the share of voxels that are not background; ``background``, the mean of the
        grid's six outer faces; ``intensity_5``, ``_50``, ``_95``, quantiles of the brain. With a reference
        also ``likeness``, the correlation with it on the whole grid, and ``contrast``, the correlation
        where both have brain.
    """
    values = np.array(volume, np.float32)  # a copy, because torch warns about read-only memory
    brain = values != float(background_of(torch.from_numpy(values)[None]))
    if not brain.any():
        brain = np.ones_like(brain)
    faces = [np.take(values, (0, -1), axis).mean(dtype=np.float64) for axis in range(3)]
    low, middle, high = np.percentile(values[brain], (5, 50, 95))
    found = {
        "brain_share": float(brain.mean()),
        "background": float(np.mean(faces)),
        "intensity_5": float(low),
        "intensity_50": float(middle),
        "intensity_95": float(high),
    }
    if reference is not None:
        found["likeness"] = _correlation(values.ravel(), reference.ravel())
        both = brain & (reference != 0)
        found["contrast"] = _correlation(values[both], reference[both]) if both.sum() > 1 else 0.0
    return found


def statistics_of(figures: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return mean and standard deviation of every figure over scans, as plain data for a card.

    Parameters
    ----------
    figures : sequence of mapping
        `scan_figures` of every scan.

    Returns
    -------
    dict
        ``scans``, and for every figure ``[mean, standard deviation]``; empty for fewer than `LEAST_SCANS`
        scans.
    """
    if len(figures) < LEAST_SCANS:
        return {}
    spread = {}
    for name in figures[0]:
        values = np.array([own[name] for own in figures])
        spread[name] = [float(f"{value:.6g}") for value in (values.mean(), values.std(ddof=1))]
    return {"scans": len(figures), "figures": spread}


def outside(figures: Mapping[str, float], statistics: Mapping[str, Any]) -> list[Outside]:
    """Return the figures of a scan that are far outside the range of the training scans.

    Parameters
    ----------
    figures : mapping
        Result of `scan_figures`.
    statistics : mapping
        Result of `statistics_of`.

    Returns
    -------
    list of Outside
        Figures at least six standard deviations from the mean of the training scans. A minimum tolerance
        applies if training scans hardly differ.
    """
    known = statistics.get("figures", {})
    found = []
    for name, value in figures.items():
        if name in known and name in _FLOORS:
            low, high = _bounds(name, known)
            if not low <= value <= high:
                found.append(Outside(name, value, low, high))
    return found


def _bounds(name: str, known: Mapping[str, Any]) -> tuple[float, float]:
    mean, deviation = known[name]
    floor = _FLOORS[name]
    if name == "brain_share":
        floor *= mean
    elif name.startswith(("intensity", "background")):
        floor *= abs(known["intensity_95"][0] - known["intensity_5"][0])
    reach = max(_DEVIATIONS * deviation, floor)
    return mean - reach, math.inf if name in ("likeness", "contrast") else mean + reach


def same_neighbours(data: np.ndarray) -> float:
    """Return the share of foreground voxels that equal their next neighbour, over the three axes.

    Tissue has noise, whereas label volumes and masks have areas of one value.
    """
    outer = float(background_of(torch.from_numpy(np.array(data, np.float32))[None]))
    equal = counted = 0
    for axis in range(3):
        here, there = (np.moveaxis(data, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
        both = (here != outer) & (there != outer)
        counted += int(both.sum())
        equal += int((both & (here == there)).sum())
    return equal / counted if counted else 0.0


def label_words(data: np.ndarray) -> str | None:
    """Return a message if a scan looks like a label volume, else ``None``."""
    share = same_neighbours(data)
    if share < _LABELS:
        return None
    return f"{share:.0%} of its voxels equal their neighbours: is it a label volume, or a mask?"


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (a, b))
    length = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / length if length else 0.0


def _shown(value: float) -> str:
    return "1" if value == math.inf else f"{value:.3g}"
