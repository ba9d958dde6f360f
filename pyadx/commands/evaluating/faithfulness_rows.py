"""Deletion and insertion curves for ``pyadx evaluate --faithfulness``."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyadx.commands.devices import pick_device
from pyadx.commands.explaining.heatmaps import HeatmapJob
from pyadx.commands.explaining.networks import network
from pyadx.data.grids import fit_to_card
from pyadx.data.inputs import prepared_volume
from pyadx.data.scans import Scan
from pyadx.evaluation.faithfulness import Faithfulness, deletion_insertion
from pyadx.files import replacing

_STEPS = 20  # two forwards each


@dataclass(frozen=True, eq=False)
class Faithful:
    """Curves of one method on one scan."""

    method: str
    subject: str
    fill: str
    found: Faithfulness


def faithfulness_of(
    job: HeatmapJob, subject: str, scan: Scan, heatmap: np.ndarray, target: str, device: str
) -> list[Faithful]:
    """Follow the target's probability while the heatmap's strongest voxels are deleted, and inserted.

    Deleted voxels get the scan's local mean, the network's mean of controls if it has one, or 0.
    """
    own_device = pick_device(device)
    net = network(job.model, own_device)
    card = net.card
    fitted = fit_to_card(scan, card)
    on_grid = fit_to_card(Scan(scan.path, scan.image, heatmap), card)
    volume = prepared_volume(fitted, card).to(own_device)
    outputs = job.spec.options.get("outputs", "logits")
    words = ["local", *(["controls"] if net.model.references else []), "zero"]
    return [
        Faithful(
            job.name,
            subject,
            word,
            deletion_insertion(
                net.model,
                volume,
                on_grid.data,
                target,
                steps=_STEPS,
                fill=word,
                spacing=card.preprocessing.spacing,
                outputs=outputs,
            ),
        )
        for word in words
    ]


def write_faithfulness(path: Path, rows: Iterable[Faithful]) -> None:
    """Write areas and curves as CSV."""
    with replacing(path) as (partial,), partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "subject", "fill", "curve", "auc", "scores from 0 to all voxels"])
        for row in rows:
            for name in ("deletion", "insertion"):
                curve = getattr(row.found, name)
                scores = " ".join(f"{value:.5g}" for value in curve.score)
                writer.writerow([row.method, row.subject, row.fill, name, f"{curve.auc:.6g}", scores])
