"""Statistics of a cohort's scans, which a network's card stores to recognise unlike scans."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import models
from pyadx.data.class_means import class_means
from pyadx.data.cohort import read_cohort
from pyadx.data.cohort.records import class_of
from pyadx.data.inputs import PreparedScans, prepare_scans
from pyadx.data.network_scans import network_statistics
from pyadx.data.scan_statistics import LEAST_SCANS
from pyadx.inference.progress import progress_bar
from pyadx.models.card import ModelCard


def give_statistics(model: nn.Module, cohort: Path, progress: bool = False) -> dict[str, Tensor]:
    """Add the statistics of a cohort's scans to a network, and reference images if it has none.

    Parameters
    ----------
    model : torch.nn.Module
        Network with a card; the card is changed in place.
    cohort : Path
        BIDS folder, ADNI table or its folder, or a table. Reference images need diagnoses.
    progress : bool
        Show a bar.

    Returns
    -------
    dict
        The added reference images, by class.

    Raises
    ------
    ValueError
        If the cohort cannot be read, or has fewer than 8 scans.
    """
    card = _card(model)
    found = read_cohort(cohort, None)
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bar("scans", len(found.scans), progress) as advance,
    ):
        scans = prepare_scans(found, card, cache=folder, skip_unreadable=True, advance=advance)
        if len(scans.volumes) < LEAST_SCANS:
            raise ValueError(
                f"{cohort}: has {len(scans.volumes)} scans that can be read, at least {LEAST_SCANS} are "
                "needed: statistics of fewer would describe single people"
            )
        given = {} if getattr(model, "references", {}) else _means(model, scans, card)
        statistics = network_statistics(scans.volumes, model)
        del scans
    statistics["source"] = cohort.name
    model.card = replace(_card(model), statistics=statistics)  # type: ignore[assignment]
    return given


def _means(model: nn.Module, scans: PreparedScans, card: ModelCard) -> dict[str, Tensor]:
    """Add the mean image of each class with enough scans to a network."""
    names = [class_of(record.label, card.class_names) for record in scans.scans]
    labels = np.array([-1 if name is None else card.class_names.index(name) for name in names])
    which = np.flatnonzero(labels >= 0)
    if not which.size:
        return {}
    means = class_means(scans.volumes, labels, which, card)
    images = {name: torch.from_numpy(image) for name, image in means.images.items()}
    facts: Mapping[str, Mapping[str, Any]] = {name: means.facts[name] for name in images}
    models.with_references(model, images, facts)
    return images


def _card(model: nn.Module) -> ModelCard:
    card = model.card
    assert isinstance(card, ModelCard)
    return card
