"""``pyadx explain``: one scan and one checkpoint in, one heatmap out."""

import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.devices import pick_device, software
from pyadx.commands.explaining.atlases import atlas_arguments, mask_on_grid
from pyadx.commands.explaining.networks import Model, explainer, network
from pyadx.commands.explaining.provenance import (
    derivative_facts,
    method_facts,
    named_prediction,
    provenance,
    target_index,
)
from pyadx.commands.explaining.references import reference_arguments, reference_facts, second_of
from pyadx.commands.figures import FigureOptions, check_figure_file
from pyadx.data.atlas_keys import find_key
from pyadx.data.channels import read_channels
from pyadx.data.flatness import flat_words
from pyadx.data.grids import FittedScan, fit_to_card, map_to_scan, on_grid
from pyadx.data.heatmaps import check_heatmap_path, scores_path, write_heatmap
from pyadx.data.inputs import prepared_volume, voxel_hash
from pyadx.data.network_scans import check_scan, refuse_unlike
from pyadx.data.scans import read_scan
from pyadx.explainers import Explainer, parse_method
from pyadx.files import together
from pyadx.models.card import ModelCard
from pyadx.report.page_parts import PageHeatmap
from pyadx.report.region_tables import check_region_table, save_region_table
from pyadx.report.scan_panels import save_scan_panels

_GRID = "the network's grid"


@dataclass(frozen=True)
class ExplainRequest:
    """All inputs and options of a heatmap; ``method`` is a spelling for `pyadx.explainer`.

    ``subject`` is the subject's id, to check whether the network was trained on a scan of that subject.
    ``strict`` refuses a scan unlike those that the network was made for. ``second_reference`` names
    another reference, for a second map to compare. ``channels`` are further images of the same person,
    for networks with several channels. ``regions`` is an atlas for methods on regions, ``key`` the names
    of its numbers, and ``groups`` columns of the key that group regions. ``table`` is the file for the
    results of such methods. ``on_grid`` writes the map on the network's grid, not on the scan's voxels.
    ``sources`` are the BIDS URIs of the inputs of a map in a derivative data set. ``store`` is the file
    for finished scores until the heatmap is written, by default beside the heatmap. ``drawn`` says what
    the figure shows.
    """

    scan: Path
    model: Model
    out: Path
    method: str = "gradcam"
    target: str | None = None
    device: str = "auto"
    batch_size: str = "auto"
    figure: Path | None = None
    overwrite: bool = False
    resume: bool = False
    progress: bool = True
    orientation: str = "auto"
    subject: str | None = None
    strict: bool = False
    mask: Path | None = None
    second_reference: str | None = None
    channels: tuple[Path, ...] = ()
    regions: Path | None = None
    key: Path | None = None
    groups: tuple[str, ...] = ()
    table: Path | None = None
    on_grid: bool = False
    sources: tuple[str, ...] | None = None
    store: Path | None = None
    drawn: FigureOptions = field(default_factory=FigureOptions)


@dataclass(frozen=True)
class ExplainedScan:
    """A heatmap as it was written, and the contents of its sidecar."""

    heatmap: np.ndarray
    sidecar: dict[str, Any]
    warnings: list[str]


def run_explain(request: ExplainRequest) -> ExplainedScan:
    """Explain one scan file and write the heatmap, its sidecar and, if asked, a figure.

    Raises
    ------
    ValueError, TypeError
        If any input does not fit. As much as possible is checked before the model runs. Nothing is
        written after an error.
    """
    out = check_heatmap_path(request.out, overwrite=request.overwrite)
    _check_figure(request)
    if request.table is not None:
        _check_table_path(request.table, request)
    parse_method(request.method)
    batch_size = _batch_size(request.batch_size)
    device = pick_device(request.device)
    net = network(request.model, device)
    card = net.card
    target = target_index(request.target, card.class_names)
    explain = explainer(request.model, device, request.method, batch_size, request.progress)
    store = _score_store(request, explain, out)
    how = {"batch_size": batch_size, "progress": request.progress}
    second = second_of(explain.spec, request.second_reference, out, request.overwrite, **how)
    reference = reference_facts(explain.spec, net.model)
    _check_regions(request, explain)

    started = time.perf_counter()
    scan = read_scan(request.scan, orientation=request.orientation)
    if out.exists() and out.samefile(scan.path):
        raise ValueError(f"{out}: is the scan itself; choose another name for the heatmap")
    fitted = fit_to_card(scan, card)
    channels = read_channels(request.channels, scan)
    volume = prepared_volume(fitted, card, channels=channels).to(device)
    shown = {} if request.figure is None else _shown(request.drawn, fitted, card)
    checks = check_scan(scan, volume, net.model)
    if request.strict:
        refuse_unlike(scan.path, checks.words)
    read_seconds = time.perf_counter() - started

    started = time.perf_counter()
    more: dict[str, Any] = dict(reference_arguments(explain.spec, fitted, card))
    if store is not None:
        more |= {"store": store, "resume": request.resume, "overwrite": request.overwrite}
    if request.mask is not None:
        more["mask"] = mask_on_grid(request.mask, fitted, card)
    if request.regions is not None:
        more |= atlas_arguments(request.regions, request.key, fitted, request.groups)
    found = explain.run(volume, target, **more)
    heatmap = found.heatmap[0].cpu().numpy()
    explain_seconds = time.perf_counter() - started
    target = int(found.targets[0])
    written = on_grid(fitted, heatmap) if request.on_grid else scan
    on_scan = heatmap if request.on_grid else map_to_scan(heatmap, fitted)
    sidecar = {
        **method_facts(explain, found),
        "target": {"index": target, "name": card.class_names[target]},
        "prediction": named_prediction(found, card.class_names),
        **provenance(request, net, fitted),
        "checks": checks.facts(),
        "seconds": {"read": round(read_seconds, 4), "explain": round(explain_seconds, 4)},
        "software": software(device),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": "Research software, not a medical device."
        + ("" if card.trained else " The network is untrained: its weights are random."),
    }
    said = f"Where a network looks for {card.class_names[target]}, by {explain.spec.canonical}"
    sidecar |= derivative_facts(request.sources, scan.path, said, written, request.on_grid)
    if request.on_grid:
        sidecar["grid"]["map_on_grid"] = True
    if channels:
        named = [{"file": one.path.name, "voxels_sha256": voxel_hash(one)} for one in channels]
        sidecar["scan"]["further_channels"] = named
    if reference is not None:
        sidecar["reference"] = reference
    if (words := flat_words(heatmap, "heatmap")) is not None:
        sidecar["flat"] = words
    if request.mask is not None:
        sidecar["mask"] = {"file": request.mask.name, "voxels_of_grid": int(more["mask"].sum())}
    if request.regions is not None:
        sidecar["atlas"] = {"file": request.regions.name, "key": request.key and request.key.name}
        if request.groups:
            sidecar["atlas"]["groups"] = list(request.groups)
    others = []
    if second is not None:
        others.append(
            second.make(net.model, volume, target, fitted, card, on_scan, sidecar, more.get("mask"))
        )
    with together():
        if request.figure is not None:
            row = PageHeatmap(f"{found.method}, {card.class_names[target]}", heatmap, sidecar)
            beneath = on_grid(fitted)
            save_scan_panels(request.figure, beneath, [row], scan.path.name, grid=_GRID, **shown)
        if request.table is not None:
            save_region_table(request.table, sidecar["report"])
        write_heatmap(out, on_scan, written, sidecar)
        for path, heat, facts in others:
            write_heatmap(path, heat, scan, facts)
    if store is not None:
        store.unlink(missing_ok=True)
    return ExplainedScan(on_scan, sidecar, _warnings(fitted, card, sidecar))


def _check_regions(request: ExplainRequest, explain: Explainer) -> None:
    """Refuse options that have no meaning for the method, or that need another option."""
    taken = signature(explain.run).parameters
    for option, given, argument, why in (
        ("--mask", request.mask, "mask", "fills no regions"),
        ("--regions", request.regions, "regions", "takes no atlas"),
        ("--table", request.table, "regions", "takes no atlas"),
        ("--groups", request.groups or None, "groups", "forms no groups"),
    ):
        if given is not None and argument not in taken:
            raise ValueError(f"{option} has no meaning for {explain.spec.canonical}, which {why}")
    if request.regions is None and (request.key is not None or request.groups):
        name, what = ("--groups", "columns") if request.groups else ("--key", "the names")
        raise ValueError(f"{name} gives {what} of an atlas: name the atlas with --regions")


def _score_store(request: ExplainRequest, explain: Explainer, out: Path) -> Path | None:
    """Return the file that stores the scores of a long run until the heatmap is written."""
    if not explain.resumable:
        if request.resume:
            raise ValueError(
                f"--resume has no meaning for {explain.spec.canonical}, which keeps no scores; leave it out"
            )
        return None
    store = request.store or scores_path(out)
    if store.exists() and not (request.resume or request.overwrite):
        raise ValueError(
            f"{store}: holds the scores of an interrupted run; use --resume to continue it, or "
            "--overwrite to start again"
        )
    return store


def _batch_size(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--batch-size must be 'auto' or a positive integer, got {text!r}") from None


def _check_figure(request: ExplainRequest) -> None:
    if request.figure is None:
        if request.drawn.given:
            raise ValueError(f"{request.drawn.given[0]} needs a figure: name one with --figure")
        return
    check_figure_file(request.figure, overwrite=request.overwrite)
    request.drawn.check()


def _shown(asked: FigureOptions, fitted: FittedScan, card: ModelCard) -> dict[str, Any]:
    """Return the figure's options on the network's grid, checked against that grid and the scan."""
    scan = fitted.scan
    replace(asked, mask=None).on(scan, scan.path.name)  # also on the scan, because the grid may be larger
    return asked.on(on_grid(fitted), _GRID, lambda path: mask_on_grid(path, fitted, card))


def _check_table_path(path: Path, request: ExplainRequest) -> None:
    check_region_table(path, overwrite=request.overwrite)
    key = request.key or (request.regions and find_key(request.regions))
    if key and path.exists() and path.samefile(key):
        raise ValueError(f"{path}: is the key of the atlas; choose another name for the table")


def _warnings(fitted: FittedScan, card: ModelCard, facts: dict[str, Any]) -> list[str]:
    found = [f"{fitted.scan.path.name}: {words}" for words in facts["checks"]["outside"]]
    if fitted.kept < 0.99:
        found.append(
            f"only {fitted.kept:.0%} of the scan's intensity lies on the network's grid "
            f"({'x'.join(map(str, card.in_shape))} voxels); crop or register the scan first"
        )
    if facts["scan"]["seen_in_training"]:
        found.append(
            f"{fitted.scan.path.name} was among the scans that the network was trained on: "
            "its prediction says nothing about unseen scans"
        )
    elif facts["scan"].get("subject_seen_in_training"):
        found.append(
            f"{fitted.scan.path.name}: the network was trained on another scan of a subject with this id"
        )
    if not card.trained:
        found.append("the network is untrained: the heatmap shows the method, not a disease")
    if "flat" in facts:
        found.append(f"the heatmap is flat: {facts['flat']}; try another score or --target")
    return found
