"""A cache of networks and their explainers, so that the next scan can use them again."""

from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from typing import Any

import torch
from torch import nn

from pyadx.explainers import Explainer, parse_method
from pyadx.models.card import ModelCard
from pyadx.models.sources import ModelSource

_KEPT = 4  # networks, and explainers; commands that compare methods alternate between several
Model = ModelSource | PathLike[str] | str
Version = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Network:
    """A network in memory. Its users must not change it."""

    model: nn.Module
    card: ModelCard
    sha256: str


def network(model: Model, device: torch.device | str = "cpu") -> Network:
    """Return a network on a device. It is read again only if one of its files has changed.

    Parameters
    ----------
    model : ModelSource, or path or str
        The network. A path or str is taken as `ModelSource.model`.
    device : torch.device or str
        Device that it runs on.

    Raises
    ------
    ValueError
        As `ModelSource.load`.
    """
    source = ModelSource.of(model)
    return _network(source, _version(source), str(device))


def explainer(
    model: Model,
    device: torch.device | str,
    method: str,
    batch_size: Any = "auto",
    progress: bool = False,
) -> Explainer:
    """Return the explainer of a network; the same object for the same spelling of the method.

    Work that does not depend on the scan (the trace, the pooled layer) is done once.

    Raises
    ------
    ValueError
        If the network cannot be read, or the method or an option does not fit.
    """
    source = ModelSource.of(model)
    return _explainer(source, _version(source), str(device), method, batch_size, progress)


def _version(source: ModelSource) -> Version:
    """Return a value that changes when one of the network's files changes."""
    found: list[tuple[int, ...]] = []
    for path in source.files:
        try:
            status = path.stat()
        except OSError:
            found.append(())
        else:
            found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=_KEPT)
def _network(source: ModelSource, version: Version, device: str) -> Network:
    model = source.load()
    card = model.card
    assert isinstance(card, ModelCard)
    return Network(model.to(device), card, source.fingerprint(model))


@lru_cache(maxsize=_KEPT)
def _explainer(
    source: ModelSource,
    version: Version,
    device: str,
    method: str,
    batch_size: Any,
    progress: bool,
) -> Explainer:
    spec = parse_method(method)
    own = _network(source, version, device)
    return spec.build(
        own.model,
        spacing=own.card.preprocessing.spacing,
        batch_size=batch_size,
        progress=progress,
        keep_trace=True,  # commands do not change a network between scans
    )
