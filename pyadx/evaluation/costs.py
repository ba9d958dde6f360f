"""What heatmaps cost: evaluations of the network when done plainly, those that were done, and seconds."""

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
    """Means over the scans of one method.

    Attributes
    ----------
    method : str
        Its name.
    scans : int
        How many.
    plain : float
        Forward passes that the method's definition asks for, one per window or segment; for the CAM family
        the one pass it needs.
    scored : float
        Windows or segments that were scored, most of them by a small share of a forward pass.
    seconds : float
        Per scan, segmentation included.
    """

    method: str
    scans: int
    plain: float
    scored: float
    seconds: float


def costs(facts: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Cost]:
    """Return the cost of every method.

    Parameters
    ----------
    facts : iterable
        Name of the method, and the sidecar of one of its heatmaps.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for method, sidecar in facts:
        own = sidecar["report"]
        row = (own["evaluations"], own["evaluated"], sidecar["seconds"]["explain"])
        found.setdefault(method, []).append(row)
    return [Cost(method, len(rows), *np.mean(rows, axis=0).tolist()) for method, rows in found.items()]


def write_costs(path: str | os.PathLike[str], rows: Iterable[Cost]) -> None:
    """Write the costs as CSV."""
    with replacing(Path(path)) as (partial,), partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "scans", "plain_forwards", "scored", "seconds"])
        writer.writerows(
            [c.method, c.scans, f"{c.plain:.1f}", f"{c.scored:.1f}", f"{c.seconds:.4g}"] for c in rows
        )


def costs_markdown(rows: Iterable[Cost]) -> str:
    """Return the costs as a table."""
    columns = ["method", "forwards when done plainly", "windows or segments scored", "seconds per scan"]
    cells = [(c.method, f"{c.plain:,.0f}", f"{c.scored:,.0f}", f"{c.seconds:.3g}") for c in rows]
    return markdown_table(columns, cells)
