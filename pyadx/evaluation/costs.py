"""Cost of heatmaps: forward passes a naive implementation needs, regions actually scored, and seconds."""

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.files import replacing
from pyadx.markdown import markdown_table


@dataclass(frozen=True)
class Cost:
    """Mean cost of one method per scan.

    Attributes
    ----------
    method : str
        Name of the method.
    scans : int
        Number of scans.
    plain : float
        Forward passes of a naive implementation: one per window or segment. The CAM family needs one.
    scored : float
        Windows or segments that were scored. Most of them take a small share of a forward pass.
    seconds : float
        Seconds per scan, segmentation included.
    """

    method: str
    scans: int
    plain: float
    scored: float
    seconds: float


def costs(facts: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Cost]:
    """Average the costs in the sidecars of heatmaps, method by method.

    Parameters
    ----------
    facts : iterable of (str, mapping)
        One pair per heatmap: the name of the method and the heatmap's sidecar.

    Returns
    -------
    list of Cost
        One per method, in the order in which the methods first appear.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for method, sidecar in facts:
        own = sidecar["report"]
        row = (own["evaluations"], own["evaluated"], sidecar["seconds"]["explain"])
        found.setdefault(method, []).append(row)
    return [Cost(method, len(rows), *np.mean(rows, axis=0).tolist()) for method, rows in found.items()]


def write_costs(path: str | os.PathLike[str], rows: Iterable[Cost]) -> None:
    """Write the costs to a CSV file.

    Parameters
    ----------
    path : path
        Output file. It appears complete or not at all.
    rows : iterable of Cost
        One row of the file each.
    """
    with replacing(Path(path)) as (partial,), partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "scans", "plain_forwards", "scored", "seconds"])
        writer.writerows(
            [c.method, c.scans, f"{c.plain:.1f}", f"{c.scored:.1f}", f"{c.seconds:.4g}"] for c in rows
        )


def costs_markdown(rows: Iterable[Cost]) -> str:
    """Return the costs as a Markdown table."""
    columns = ["method", "forward passes (naive)", "windows or segments scored", "seconds per scan"]
    cells = [(c.method, f"{c.plain:,.0f}", f"{c.scored:,.0f}", f"{c.seconds:.3g}") for c in rows]
    return markdown_table(columns, cells)
