"""Heatmaps of many scans by many methods, stored as BIDS derivatives and used again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.explaining.explain import ExplainRequest, run_explain
from pyadx.commands.explaining.networks import Model, explainer, network
from pyadx.commands.explaining.references import reference_facts
from pyadx.data.cohort import ScanRecord
from pyadx.data.derivatives import bids_uri, derivative_file
from pyadx.data.heatmaps import scores_path, sidecar_path
from pyadx.data.inputs import voxel_hash
from pyadx.data.network_scans import refuse_unlike
from pyadx.data.scans import read_scan, read_volume
from pyadx.explainers import MethodSpec, parse_method
from pyadx.files import remove_partial


@dataclass(frozen=True)
class HeatmapJob:
    """One method of one network.

    Attributes
    ----------
    name : str
        Name in tables and figures.
    model : ModelSource, or path or str
        The network.
    method : str
        Spelling of the method.
    file_label : str
        Label of the method in file names; by default made from its options.
    on_grid : bool
        Write maps on the network's grid; otherwise on the voxels of the scans.
    """

    name: str
    model: Model
    method: str
    file_label: str = ""
    on_grid: bool = False

    @property
    def spec(self) -> MethodSpec:
        """The method with all its options, including those that the network decides.

        Raises
        ------
        ValueError
            If the network has no such layer, or the method no such option.
        """
        return explainer(self.model, "cpu", self.method).spec

    @property
    def description(self) -> str:
        """The ``desc-`` entity of its files, the same in every command that makes the same map."""
        return self.file_label or self.spec.description


def make_job(method: str, model: Model, *, on_grid: bool = False) -> HeatmapJob:
    """Return the job of a method, named by its canonical spelling.

    Raises
    ------
    ValueError
        If there is no such method or option.
    """
    return HeatmapJob(parse_method(method).canonical, model, method, on_grid=on_grid)


def heatmap_of(
    job: HeatmapJob,
    root: Path,
    record: ScanRecord,
    target: str,
    device: str,
    progress: bool,
    strict: bool = False,
    work: Path | None = None,
) -> tuple[np.ndarray, dict[str, Any], Path]:
    """Return a heatmap, its sidecar and its file; use an existing file of the same request again.

    Parameters
    ----------
    job : HeatmapJob
        Network, method, options.
    root : Path
        Derivative data set.
    record : ScanRecord
        The scan and its subject.
    target : str
        Class.
    device : str
        As for ``pyadx explain``.
    progress : bool
        Show bars.
    strict : bool
        Refuse scans unlike those that the network was made for.
    work : Path, optional
        Folder for the scores of an unfinished map; by default the heatmap's folder.
    """
    out = derivative_file(root, record.subject, job.description, record.entities)
    # File names of earlier versions had no session and no other entities.
    for there in dict.fromkeys((out, derivative_file(root, record.subject, job.description))):
        kept = _kept(job, there, record.path, target)
        if kept is not None:
            if strict:
                refuse_unlike(record.path, kept[1].get("checks", {}).get("outside", ()))
            return *kept, there
    resumable = explainer(job.model, "cpu", job.method).resumable
    store = scores_path(out if work is None else work / out.relative_to(root))
    for path in (out, sidecar_path(out), *([store] if resumable else [])):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_partial(path)
    # Stored scores of an interrupted call are used only if they belong to the same request.
    begun = resumable and store.exists()
    uri = bids_uri(record)
    explanation = run_explain(
        ExplainRequest(
            scan=record.path,
            model=job.model,
            out=out,
            method=job.method,
            target=target,
            device=device,
            overwrite=True,
            resume=begun,
            progress=progress,
            subject=record.subject,
            strict=strict,
            on_grid=job.on_grid,
            sources=(uri,) if uri else (),
            store=store,
        )
    )
    return explanation.heatmap, explanation.sidecar, out


def _kept(job: HeatmapJob, out: Path, scan: Path, target: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return an earlier heatmap if its sidecar says that it answers this request."""
    try:
        facts = json.loads(sidecar_path(out).read_text(encoding="utf-8"))
        heat = read_volume(out)  # a map of zeros is also a finished map
        same = (
            facts["spelling"] == job.spec.canonical
            and _options_in(facts, job) == job.spec.changing_options()
            and _same_reference(facts, job)
            and "mask" not in facts
            and facts.get("grid", {}).get("map_on_grid", False) == job.on_grid
            and target in facts["target"].values()
            and hash_in(facts["model"], "weights_sha256") == network(job.model).sha256
            and hash_in(facts["scan"], "voxels_sha256") == voxel_hash(read_scan(scan))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (heat.data, facts) if same else None


def _options_in(facts: dict[str, Any], job: HeatmapJob) -> dict[str, Any]:
    """Return the options in a sidecar that change the map; defaults may differ between versions."""
    names = job.spec.changing_options()
    return {name: value for name, value in facts["parameters"].items() if name in names}


def _same_reference(facts: dict[str, Any], job: HeatmapJob) -> bool:
    own = reference_facts(job.spec, network(job.model).model)
    hashes = [(one or {}).get("voxels_sha256") for one in (facts.get("reference"), own)]
    return hashes[0] == hashes[1]


def hash_in(facts: dict[str, Any], name: str) -> str:
    """Return a hash from a sidecar, also under the name that older sidecars use."""
    return facts[name] if name in facts else facts["sha256"]
