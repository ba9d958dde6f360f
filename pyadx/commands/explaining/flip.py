"""``pyadx flip``: the smallest set of regions that decides a scan's class, as labels and a list."""

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pyadx.commands.devices import pick_device, software
from pyadx.commands.explaining.atlases import atlas_arguments
from pyadx.commands.explaining.networks import Model, explainer, network
from pyadx.commands.explaining.provenance import method_facts, named_prediction, provenance, target_index
from pyadx.commands.explaining.references import reference_arguments, reference_facts
from pyadx.data.grids import FittedScan, fit_to_card, on_grid
from pyadx.data.heatmaps import check_heatmap_path, write_heatmap
from pyadx.data.inputs import prepared_volume
from pyadx.data.network_scans import check_scan, refuse_unlike
from pyadx.data.regions import labels_on_scan, read_labels
from pyadx.data.scans import Scan, read_scan
from pyadx.explainers.segments import segmented_part
from pyadx.segmentation import ucm


@dataclass(frozen=True)
class FlipRequest:
    """All inputs and options; ``regions`` is an atlas in the scan's space."""

    scan: Path
    model: Model
    out: Path
    keep: bool = False
    regions: Path | None = None
    key: Path | None = None
    fill: str = "local"
    max_regions: int = 50
    target: str | None = None
    orientation: str = "auto"
    device: str = "auto"
    strict: bool = False
    overwrite: bool = False
    progress: bool = True
    subject: str | None = None


@dataclass(frozen=True)
class Flip:
    """The result: a summary in one line, and each region with its change of the score."""

    words: str
    rows: list[tuple[str, float]]
    warnings: list[str]


def run_flip(request: FlipRequest) -> Flip:
    """Find the decisive regions; write a label volume with each region's position in the list.

    Raises
    ------
    ValueError
        If any input does not fit. Raised before the model runs. Nothing is written after an error.
    """
    out = check_heatmap_path(request.out, overwrite=request.overwrite)
    device = pick_device(request.device)
    net = network(request.model, device)
    method = f"flip:kind={'keep' if request.keep else 'remove'},fill={request.fill}"
    explain = explainer(request.model, device, method, "auto", request.progress)
    scan = read_scan(request.scan, orientation=request.orientation)
    fitted = fit_to_card(scan, net.card)
    volume = prepared_volume(fitted, net.card).to(device)
    checks = check_scan(scan, volume, net.model)
    if request.strict:
        refuse_unlike(scan.path, checks.words)
    regions = _regions(request, fitted, volume)
    more = {**reference_arguments(explain.spec, fitted, net.card), **regions}
    found = explain.run(volume, target_index(request.target, net.card.class_names), **more)
    facts = {
        **method_facts(explain, found),
        "target": {"index": int(found.targets[0]), "name": net.card.class_names[int(found.targets[0])]},
        "prediction": named_prediction(found, net.card.class_names),
        **provenance(request, net, fitted),
        "checks": checks.facts(),
        "reference": reference_facts(explain.spec, net.model),
        "atlas": None if request.regions is None else {"file": request.regions.name},
        "software": software(device),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": "Research software, not a medical device.",
    }
    report = facts["report"]
    write_heatmap(out, _places(request, regions["regions"], fitted, scan, report["labels"]), scan, facts)
    rows = list(zip(report["names"], report["changes"], strict=True))
    return Flip(report["summary"], rows, [f"{scan.path.name}: {words}" for words in checks.words])


def _regions(request: FlipRequest, fitted: FittedScan, volume: Tensor) -> dict[str, Any]:
    """Return regions on the network's grid: those of the atlas, or segments of the scan."""
    if request.regions is not None:
        return atlas_arguments(request.regions, request.key, fitted)
    if request.key is not None:
        raise ValueError("--key names the regions of an atlas: give the atlas with --regions")
    scan = volume[0]
    tree = ucm(scan[0].float(), segmented_part(scan, None), max_regions=max(request.max_regions, 2))
    return {"regions": tree.cut(request.max_regions), "names": None}


def _places(
    request: FlipRequest, regions: np.ndarray, fitted: FittedScan, scan: Scan, chosen: list[int]
) -> np.ndarray:
    """Return labels on the scan's voxels: a region's position in the list, from 1; 0 elsewhere."""
    if request.regions is not None:
        labels = labels_on_scan(read_labels(request.regions), scan)
    else:
        labels = labels_on_scan(on_grid(fitted, regions.astype(np.float32)), scan)
    places = np.zeros(scan.data.shape, np.float32)
    for place, label in enumerate(chosen, start=1):
        places[labels == label] = place
    return places
