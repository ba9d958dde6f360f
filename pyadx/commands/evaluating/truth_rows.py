"""Comparison of heatmaps with the causal ground truth, for ``pyadx evaluate --truth``."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.devices import pick_device
from pyadx.commands.explaining.heatmaps import HeatmapJob
from pyadx.commands.explaining.networks import Model, network
from pyadx.data.cohort import ScanRecord
from pyadx.data.derivatives import derivative_file
from pyadx.data.grids import fit_to_card, map_to_scan
from pyadx.data.heatmaps import sidecar_path, write_heatmap
from pyadx.data.inputs import prepared_volume, voxel_hash
from pyadx.data.phantom import twin_file
from pyadx.data.phantom.cases import read_twin, truth_window
from pyadx.data.scans import Scan, read_scan, read_volume
from pyadx.evaluation.region_scores import mean_with_interval
from pyadx.evaluation.scoreboard import Scoreboard
from pyadx.evaluation.truth import Agreement, causal_truth, truth_agreement
from pyadx.files import replacing
from pyadx.inference.score import Score
from pyadx.markdown import markdown_table

_SCORE: Score = "log_odds"
_CORE = "planted core"


@dataclass(frozen=True)
class TruthRow:
    """Agreement of one method with the causal truth of one patient."""

    method: str
    subject: str
    agreement: Agreement


def check_twins(subjects: Iterable[tuple[str, Scan]], cohort: Path) -> None:
    """Check that a causal truth can be computed, before any heatmap is made.

    Raises
    ------
    ValueError
        If no subject has a healthy twin, or a twin is not on its scan's voxels.
    """
    files = {name: (twin_file(_folder(cohort), name), scan) for name, scan in subjects}
    found = [(path, scan) for path, scan in files.values() if path.is_file()]
    if not found:
        raise ValueError(
            f"{cohort}: none of the chosen subjects has a healthy twin; --truth is for patients of a "
            "synthetic cohort (pyadx phantom), which has twins in derivatives/phantom"
        )
    for path, scan in found:
        if not read_scan(path).lies_on(scan):
            raise ValueError(f"{path}: does not lie on the voxels of {scan.path}")


def truth_on_scan(
    model: Model, scan: Scan, record: ScanRecord, cohort: Path, root: Path, target: str, device: str
) -> np.ndarray | None:
    """Return the causal truth on the scan's voxels; None for subjects without a twin.

    It is stored among the heatmaps, with a sidecar, and used again for the same network and scans.

    Parameters
    ----------
    model : ModelSource, or path or str
        Checkpoint.
    scan, record : Scan, ScanRecord
        The patient's scan and its record in the cohort.
    cohort : Path
        The synthetic cohort: its folder, or a table in it.
    root : Path
        Derivative data set that heatmaps are kept in.
    target, device : str
        As for ``pyadx explain``.

    Raises
    ------
    ValueError
        If the twin cannot be read or does not fit the scan.
    """
    twin = twin_file(_folder(cohort), record.subject)
    if not twin.is_file():
        return None
    own_device = pick_device(device)
    net = network(model, own_device)
    fitted = fit_to_card(scan, net.card)
    window, stride = truth_window(fitted)
    facts = {
        "method": "causal truth",
        "window": window,
        "stride": stride,
        "score": _SCORE,
        "target": target,
        "model": {"weights_sha256": net.sha256},
        "scan": {"voxels_sha256": voxel_hash(scan)},
        "twin": {"voxels_sha256": voxel_hash(read_scan(twin))},
    }
    out = derivative_file(root, record.subject, f"truthOf{net.sha256[:8]}", record.entities)
    kept = _kept(out, facts)
    if kept is not None:
        return kept
    healthy = read_twin(record, _folder(cohort), fitted, net.card)
    assert healthy is not None
    found = causal_truth(
        net.model,
        prepared_volume(fitted, net.card).to(own_device),
        healthy.to(own_device),
        target,
        window=window,
        stride=stride,
        score=_SCORE,
    )
    truth = map_to_scan(found.cpu().numpy(), fitted)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_heatmap(out, truth, scan, facts)
    return truth


def _folder(cohort: Path) -> Path:
    return cohort if cohort.is_dir() else cohort.parent


def _kept(out: Path, facts: Mapping[str, Any]) -> np.ndarray | None:
    try:
        same = json.loads(sidecar_path(out).read_text(encoding="utf-8")) == facts
        return read_volume(out).data if same else None
    except (OSError, ValueError):
        return None


def truth_rows(
    job: HeatmapJob,
    record: ScanRecord,
    scan: Scan,
    heatmap: np.ndarray,
    cohort: Path,
    root: Path,
    target: str,
    device: str,
) -> list[TruthRow]:
    """Compare a heatmap with the truth on all voxels of the brain; no row for a subject without a twin."""
    truth = truth_on_scan(job.model, scan, record, cohort, root, target, device)
    if truth is None:
        return []
    return [TruthRow(job.name, record.subject, truth_agreement(heatmap, truth, scan.data != 0))]


def write_truth(path: Path, rows: Iterable[TruthRow]) -> None:
    """Write every figure of every patient as CSV."""
    names = list(Agreement.__dataclass_fields__)
    with replacing(path) as (partial,), partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "subject", *names])
        for row in rows:
            figures = asdict(row.agreement)
            writer.writerow([row.method, row.subject, *(f"{figures[name]:.6g}" for name in names)])


def truth_markdown(rows: Sequence[TruthRow], board: Scoreboard) -> str:
    """Return the section of a report: means over patients with bootstrap intervals.

    Parameters
    ----------
    rows : sequence of TruthRow
        Rows of all methods and patients.
    board : Scoreboard
        Localisation scores of the same heatmaps for the planted core.
    """
    columns = [
        "method", "rank correlation with the truth", "with signs", "truth's strongest 5%, AP",
        f"{_CORE}, AP",
    ]  # fmt: skip
    cells = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row.agreement for row in rows if row.method == method]
        figures = ("rank", "rank_signed", "average_precision")
        values = [[float(getattr(one, name)) for one in own] for name in figures]
        values.append(board.values(method, _CORE, "average_precision"))
        cells.append([method, *(mean_with_interval(own) if own else "-" for own in values)])
    chance = float(np.mean([row.agreement.prevalence for row in rows]))
    cells.append(["a random map", "0", "0", f"{chance:.3f}", ""])
    patients = len({row.subject for row in rows})
    words = (
        f"Causal truth of this network, {patients} patients: how far the log-odds fall when a window comes "
        "from the patient's healthy twin. On the brain's voxels, interpolated between windows; mean over "
        "patients [95% bootstrap interval]."
    )
    return f"{words}\n\n{markdown_table(columns, cells)}"
