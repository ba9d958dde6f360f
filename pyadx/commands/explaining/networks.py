"""Networks and their explainers, kept by the process for the next scan."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyadx import models
from pyadx.explainers import Explainer, parse_method
from pyadx.models.card import ModelCard

_KEPT = 4  # of each; commands that compare methods take turns


@dataclass(frozen=True)
class Network:
    """A checkpoint in memory; nothing of it is changed by whoever uses it."""

    model: nn.Module
    card: ModelCard
    sha256: str


def network(path: Path, device: torch.device | str = "cpu") -> Network:
    """Return a checkpoint's network on a device; read again only if the file has changed.

    Parameters
    ----------
    path : Path
        A checkpoint, or ``demo:vggnet`` or ``demo:resnet-shallow-gap`` for a bundled network.
    device : torch.device or str
        Where it is to run.

    Raises
    ------
    ValueError
        As `pyadx.models.load`, or if there is no such bundled network.
    """
    path = _file_of(path)
    return _network(path, _version(path), str(device))


def explainer(
    path: Path,
    device: torch.device | str,
    method: str,
    batch_size: Any = "auto",
    progress: bool = False,
) -> Explainer:
    """Return the explainer of a checkpoint's network, the same one for the same spelling of the method.

    What does not depend on the scan (the trace, the pooled layer) is worked out once.

    Raises
    ------
    ValueError
        If the checkpoint cannot be read, or the method or an option does not fit.
    """
    path = _file_of(path)
    return _explainer(path, _version(path), str(device), method, batch_size, progress)


def _file_of(path: Path) -> Path:
    """Return the file of a bundled network that is asked for by name; any other path as it is."""
    kind, _, name = str(path).partition(":")
    return models.demonstration.demonstration_checkpoint(name) if kind == "demo" else path


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to; empty if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=_KEPT)
def _network(path: Path, version: tuple[int, ...], device: str) -> Network:
    model = models.load(path)
    card = model.card
    assert isinstance(card, ModelCard)
    return Network(model.to(device), card, models.fingerprint(model))


@lru_cache(maxsize=_KEPT)
def _explainer(
    path: Path,
    version: tuple[int, ...],
    device: str,
    method: str,
    batch_size: Any,
    progress: bool,
) -> Explainer:
    spec = parse_method(method)
    own = _network(path, version, device)
    return spec.build(
        own.model,
        spacing=own.card.preprocessing.spacing,
        batch_size=batch_size,
        progress=progress,
        keep_trace=True,  # commands do not change a network between scans
    )
