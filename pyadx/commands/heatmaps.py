"""Heatmaps of many scans by many methods, kept as BIDS derivatives and never computed twice."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.explain import ExplainRequest, run_explain
from pyadx.commands.methods import method_options
from pyadx.commands.networks import explainer, network
from pyadx.data.derivatives import derivative_file
from pyadx.data.heatmaps import scores_path, sidecar_path
from pyadx.data.inputs import voxel_hash
from pyadx.data.scans import read_scan
from pyadx.files import remove_partial


@dataclass(frozen=True)
class HeatmapJob:
    """One method of one network.

    Attributes
    ----------
    name : str
        What tables and figures call it.
    model : Path
        Checkpoint.
    method : str
        As for ``pyadx explain``.
    options : dict
        Options of the method.
    """

    name: str
    model: Path
    method: str
    options: dict[str, Any] = field(default_factory=dict)


def parse_job(text: str, model: Path, options: dict[str, dict[str, Any]]) -> HeatmapJob:
    """Read a method as users write it: ``occlusion``, ``sa3ducm``, ``cam``, ``gradcam:LAYER``.

    Parameters
    ----------
    text : str
        The method.
    model : Path
        Checkpoint.
    options : dict
        Method to the options that it gets.
    """
    method, _, layer = text.strip().partition(":")
    given = dict(options.get(method, {}))
    if layer:
        given["layer"] = layer
    return HeatmapJob(text.strip(), model, method, given)


def check_job(job: HeatmapJob) -> None:
    """Raise ``ValueError`` if the network has no such layer, or the method no such option."""
    explainer(job.model, "cpu", job.method, method_options(job.method, job.options))


def heatmap_of(
    job: HeatmapJob, root: Path, subject: str, scan: Path, target: str, device: str, progress: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return a heatmap and its sidecar, from the derivatives if it is there and of this very request.

    Parameters
    ----------
    job : HeatmapJob
        Network, method, options.
    root : Path
        Derivative data set.
    subject : str
        Id.
    scan : Path
        Scan file.
    target : str
        Class.
    device : str
        As for ``pyadx explain``.
    progress : bool
        Show bars.
    """
    out = derivative_file(root, subject, job.name)
    kept = _kept(job, out, scan, target)
    if kept is not None:
        return kept
    out.parent.mkdir(parents=True, exist_ok=True)
    for path in (out, sidecar_path(out)):
        remove_partial(path)
    # Scores that an interrupted call left are those of this very request, or refused.
    begun = job.method == "occlusion" and scores_path(out).exists()
    explanation = run_explain(
        ExplainRequest(
            scan=scan,
            model=job.model,
            out=out,
            method=job.method,
            options=dict(job.options),
            target=target,
            device=device,
            overwrite=True,
            resume=begun,
            progress=progress,
        )
    )
    return explanation.heatmap, explanation.sidecar


def _kept(job: HeatmapJob, out: Path, scan: Path, target: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return an earlier heatmap if its sidecar says that it answers this request."""
    try:
        facts = json.loads(sidecar_path(out).read_text(encoding="utf-8"))
        heat = read_scan(out)
        wanted = {k: v for k, v in method_options(job.method, job.options).items() if k != "layer" or v}
        same = (
            facts["method"] == job.method
            and all(facts["parameters"][name] == value for name, value in wanted.items())
            and target in facts["target"].values()
            and facts["model"]["sha256"] == network(job.model).sha256
            and facts["scan"]["sha256"] == voxel_hash(read_scan(scan))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (heat.data, facts) if same else None
