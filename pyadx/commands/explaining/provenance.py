"""Contents of a map's sidecar: method, network, scan and the report of the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pyadx.commands.explaining.networks import Model, Network
from pyadx.data.grids import FittedScan
from pyadx.data.inputs import voxel_hash
from pyadx.data.scans import Scan
from pyadx.explainers import Explainer, Explanation
from pyadx.inference.score import class_index, probabilities
from pyadx.models.sources import ModelSource
from pyadx.models.training_scans import seen_in_training


class Asked(Protocol):
    """The fields of a request that go into the sidecar."""

    @property
    def scan(self) -> Path: ...  # noqa: D102

    @property
    def model(self) -> Model: ...  # noqa: D102

    @property
    def subject(self) -> str | None: ...  # noqa: D102


def method_facts(explain: Explainer, found: Explanation) -> dict[str, Any]:
    """Return the method, its options and the report of the run."""
    spec, (report,) = explain.spec, found.reports
    return {
        "method": spec.method.name,
        "spelling": spec.canonical,
        "parameters": spec.plain_options(),
        "report": {
            "evaluations": report.evaluations,
            "evaluated": report.evaluated,
            "approximate": report.approximate,
            **report.facts(),
            "summary": report.summary(),
        },
    }


def named_prediction(found: Explanation, names: Sequence[str]) -> dict[str, float]:
    """Return the network's prediction for the first scan, by class name.

    Returns
    -------
    dict
        Probability of every class; with ``score="output"`` the unchanged outputs.
    """
    as_they_are = found.options.get("score") == "output"
    values = (found.outputs if as_they_are else probabilities(found.outputs))[0].tolist()
    return dict(zip(names, values, strict=True))


def provenance(request: Asked, net: Network, fitted: FittedScan) -> dict[str, Any]:
    """Return the model, the scan, and how the scan was prepared for the model."""
    own, card = voxel_hash(fitted.scan), net.card
    seen = seen_in_training(card, own, request.subject)
    return {
        "model": {
            **_files_of(request.model),
            "architecture": card.architecture,
            "weights_sha256": net.sha256,
            "trained": card.trained,
            **({"shuffled_labels": True} if card.provenance.get("shuffled_labels") else {}),
        },
        "scan": {
            "file": request.scan.name,
            "shape": list(fitted.scan.data.shape),
            "voxels_sha256": own,
            "seen_in_training": seen.image,
            **({} if request.subject is None else {"subject_seen_in_training": seen.subject}),
            **orientation_facts(fitted.scan),
        },
        "grid": {
            "shape": list(card.in_shape),
            "spacing_mm": card.preprocessing.spacing,
            "resampled": fitted.resampled,
            "share_of_intensity_on_grid": round(fitted.kept, 6),
            "intensity": card.preprocessing.intensity,
        },
    }


def derivative_facts(
    sources: Sequence[str] | None, scan: Path, words: str, written: Scan, on_grid: bool
) -> dict[str, Any]:
    """Return the sidecar fields that BIDS requires in a derivative data set; empty for other maps.

    Parameters
    ----------
    sources : sequence of str, optional
        BIDS URIs of the inputs. Without them the map belongs to no data set.
    scan : Path
        File of the explained scan.
    words : str
        Description of the map.
    written : Scan
        The voxels of the map.
    on_grid : bool
        True if these are the voxels of the network's grid.
    """
    if sources is None:
        return {}
    size = np.linalg.norm(written.affine[:3, :3], axis=0)
    voxels, mm = (" x ".join(f"{n:.4g}" for n in numbers) for numbers in (written.data.shape, size))
    whose = "the network's grid" if on_grid else "those of the scan"
    return {
        "Description": words,
        **({"Sources": list(sources)} if sources else {}),
        "SpatialReference": sources[0] if sources else scan.name,
        "Resolution": f"{voxels} voxels of {mm} mm, {whose}",
    }


def _files_of(model: Model) -> dict[str, str]:
    """Return the names of a network's files, without folders."""
    source = ModelSource.of(model)
    more = {"weights": source.weights and source.weights.name, "card": source.card and source.card.name}
    named = {**more, "revision": source.revision}
    return {"file": source.name, **{kind: name for kind, name in named.items() if name}}


def orientation_facts(scan: Scan) -> dict[str, Any]:
    """Return which affine of a scan's header was used, and the doubts about it."""
    if scan.geometry is None:
        return {}
    return {"affine_from": scan.geometry.source, "header_notes": list(scan.notes)}


def target_index(text: str | None, names: Sequence[str]) -> int | None:
    """Return the index of the requested class (name or index); ``None`` if none was requested."""
    if text is None:
        return None
    named = text in names or not text.isdecimal()
    return class_index(text if named else int(text), len(names), names)


def check_target(text: str, names: Sequence[str]) -> None:
    """Raise ``ValueError`` unless a cohort's target is the name of a class."""
    if text not in names:
        raise ValueError(
            f"--target {text}: the network's classes are {', '.join(names)}; choose one of them"
        )
