"""Leakage: the evaluated image or subject was in the network's training set."""

from typing import Any

from pyadx.commands.explaining.heatmaps import hash_in
from pyadx.commands.explaining.networks import Model, network
from pyadx.models.sources import ModelSource
from pyadx.models.training_scans import seen_in_training


def leakage(model: Model, subject: str, facts: dict[str, Any]) -> list[str]:
    """Return warnings about leakage.

    Parameters
    ----------
    model : ModelSource, or path or str
        The network.
    subject : str
        Id of the scan's subject.
    facts : dict
        Sidecar of a heatmap of this scan, of this or an older version.
    """
    seen = seen_in_training(network(model).card, hash_in(facts["scan"], "voxels_sha256"), subject)
    name = ModelSource.of(model).name
    if seen.image:
        return [f"{subject} was among the scans that {name} was trained on"]
    if seen.subject:
        return [f"{name} was trained on another scan of {subject}, or of a subject with the same id"]
    return []
