"""Localisation of all methods and regions on all scans: scores per scan, pooled curves, tables."""

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pyadx.evaluation.curves import PrecisionRecall, precision_recall
from pyadx.evaluation.region_scores import RegionScore, evaluated_voxels, mean_with_interval, region_score
from pyadx.files import replacing
from pyadx.markdown import markdown_table


@dataclass(frozen=True)
class ScanScore:
    """Score of one method on one scan for one region.

    Attributes
    ----------
    method, subject, region : str
        Names of the three.
    score : RegionScore
        The scores.
    """

    method: str
    subject: str
    region: str
    score: RegionScore


class Scoreboard:
    """Collects the scores of heatmaps, scan by scan.

    Attributes
    ----------
    rows : list of ScanScore
        In the order in which they were added.
    """

    def __init__(self) -> None:
        self.rows: list[ScanScore] = []
        self._voxels: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}

    def add(
        self,
        method: str,
        subject: str,
        heatmap: np.ndarray,
        regions: Mapping[str, np.ndarray],
        inside: np.ndarray | None = None,
    ) -> None:
        """Score one heatmap.

        Parameters
        ----------
        method, subject : str
            Method that made the heatmap, and subject of the scan.
        heatmap : numpy.ndarray
            ``[I, J, K]``.
        regions : mapping
            Region name to bool mask ``[I, J, K]``. Subjects may have different regions: each one is pooled
            over the subjects that have it.
        inside : numpy.ndarray, optional
            bool mask of the voxels that count.

        Raises
        ------
        ValueError, TypeError
            As `pyadx.evaluation.localization`.
        """
        strength, masks = evaluated_voxels(heatmap, regions, inside)
        strength = strength.astype(np.float32, copy=False)
        for region, curve in precision_recall(strength, masks).items():
            score = region_score(curve, strength, masks[region])
            self.rows.append(ScanScore(method, subject, region, score))
            self._voxels.setdefault((method, region), []).append((strength, masks[region]))

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in the order in which they were added."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def regions(self) -> list[str]:
        """Names of the regions, in the order in which they were added."""
        return list(dict.fromkeys(row.region for row in self.rows))

    def curves(self) -> dict[str, dict[str, PrecisionRecall]]:
        """Return the curves over the pooled voxels of all scans: method to region to curve."""
        pooled: dict[str, dict[str, PrecisionRecall]] = {method: {} for method in self.methods}
        for (method, region), parts in self._voxels.items():
            strength = np.concatenate([part[0] for part in parts])
            mask = np.concatenate([part[1] for part in parts])
            pooled[method][region] = precision_recall(strength, {region: mask})[region]
        return pooled

    def values(self, method: str, region: str, figure: str) -> list[float]:
        """Return one field of `RegionScore`, such as ``average_precision``, for each scan."""
        chosen = (row.score for row in self.rows if (row.method, row.region) == (method, region))
        return [float(getattr(score, figure)) for score in chosen]


def write_scores(path: str | os.PathLike[str], rows: Iterable[ScanScore]) -> None:
    """Write all scores of all scans to a CSV file.

    Parameters
    ----------
    path : path
        Output file. It appears complete or not at all.
    rows : iterable of ScanScore
        One row of the file each.
    """
    names = list(RegionScore.__dataclass_fields__)
    with replacing(Path(path)) as (partial,), partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "subject", "region", *names])
        for row in rows:
            figures = asdict(row.score)
            writer.writerow([row.method, row.subject, row.region, *(f"{figures[n]:.6g}" for n in names)])


def scoreboard_markdown(board: Scoreboard, curves: Mapping[str, Mapping[str, PrecisionRecall]]) -> str:
    """Return Markdown tables with a row per method and a column per region.

    The table of average precision gives two figures: over the pooled voxels of all scans, and the mean over
    scans with its 95% bootstrap interval. The tables of the other scores give means over scans.

    Parameters
    ----------
    board : Scoreboard
        The scores.
    curves : mapping
        Pooled curves, as `Scoreboard.curves` returns them.
    """
    columns = ["method", *board.regions]
    rows = []
    for method in board.methods:
        cells = []
        for region in board.regions:
            values = board.values(method, region, "average_precision")
            pooled = curves[method][region].average_precision
            cells.append(f"{pooled:.3f}; {mean_with_interval(values)}")
        rows.append([method, *cells])
    chance = [curves[board.methods[0]][region].prevalence for region in board.regions]
    rows.append(["prevalence (a random map)", *(f"{value:.3f}" for value in chance)])
    words = (
        "Average precision: on the pooled voxels of all scans; mean over scans [95% bootstrap interval]."
    )
    parts = [f"{words}\n\n{markdown_table(columns, rows)}"]
    titles = {
        "pointing": "Pointing game: share of scans with the heatmap's strongest voxel in the region.",
        "relevance_mass": "Relevance mass: share of the sum of absolute values in the region.",
        "relevance_rank": "Relevance rank: share of the K strongest voxels in a region of K voxels.",
    }
    for figure, words in titles.items():
        rows = [
            [method, *(f"{np.mean(board.values(method, region, figure)):.3f}" for region in board.regions)]
            for method in board.methods
        ]
        parts.append(f"{words}\n\n{markdown_table(columns, rows)}")
    return "\n".join(parts)
