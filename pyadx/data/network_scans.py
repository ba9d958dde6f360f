"""Statistics of the scans that a network is made for, and the comparison of a scan with them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.data.scan_statistics import Outside, label_words, outside, scan_figures, statistics_of
from pyadx.data.scans import Scan
from pyadx.models.card import ModelCard

_UNKNOWN = "the network's card keeps no statistics of its scans"


@dataclass(frozen=True)
class ScanChecks:
    """Result of comparing a scan with those that a network was made for.

    Attributes
    ----------
    figures : dict
        `pyadx.data.scan_statistics.scan_figures` of the scan; empty if there is nothing to compare with.
    against : str or None
        Description of the scans whose statistics are in the network's card.
    outside : tuple of Outside
        Figures far outside the range of the training scans.
    labels : str or None
        Message if the scan looks like a label volume.
    """

    figures: dict[str, float] = field(default_factory=dict)
    against: str | None = None
    outside: tuple[Outside, ...] = ()
    labels: str | None = None

    @property
    def words(self) -> list[str]:
        """All doubts, one line each."""
        return [*([self.labels] if self.labels else []), *(one.words for one in self.outside)]

    def facts(self) -> dict[str, Any]:
        """Return plain data for sidecars."""
        figures = {name: round(value, 6) for name, value in self.figures.items()}
        return {
            "compared_with": self.against or f"nothing: {_UNKNOWN}",
            "figures": figures,
            "outside": self.words,
        }


def check_scan(scan: Scan, volume: Tensor, model: nn.Module) -> ScanChecks:
    """Compare a scan with the statistics in a network's card, and check that it is not a label volume.

    Parameters
    ----------
    scan : Scan
        The scan as it was read.
    volume : Tensor
        ``[1, C, D, H, W]``, prepared for the network; the first channel is compared.
    model : torch.nn.Module
        Network with ``card`` and ``references``.
    """
    labels = label_words(scan.data)
    card = getattr(model, "card", None)
    statistics = card.statistics if isinstance(card, ModelCard) else {}
    if not statistics.get("figures"):
        return ScanChecks(labels=labels)
    mean = mean_reference(model)
    if mean is not None and statistics.get("reference_sha256") != _digest(mean):
        mean = None  # the network's reference images have changed since
    figures = scan_figures(volume[0, 0].float().cpu().numpy(), mean)
    scans, source = statistics.get("scans"), statistics.get("source")
    against = f"{scans} training scans" if source is None else f"{scans} scans of {source}"
    return ScanChecks(figures, against, tuple(outside(figures, statistics)), labels)


def refuse_unlike(source: object, doubts: Sequence[str]) -> None:
    """Raise ``ValueError``, beginning with the scan's file, if the scan is doubtful."""
    if doubts:
        raise ValueError(f"{source}: {'; '.join(doubts)} (--strict)")


def mean_reference(model: nn.Module) -> np.ndarray | None:
    """Return the mean of a network's reference images, float32 ``[D, H, W]``, over its classes."""
    images = getattr(model, "references", {})
    if not isinstance(images, dict) or not images:
        return None
    found: np.ndarray = torch.stack([images[name].float() for name in sorted(images)]).mean(0).numpy()
    return found


def network_statistics(volumes: Iterable[np.ndarray], model: nn.Module) -> dict[str, Any]:
    """Return the statistics for a card: `statistics_of`, and a hash of the image compared with.

    Parameters
    ----------
    volumes : iterable of numpy.ndarray
        ``[D, H, W]``, prepared for the network.
    model : torch.nn.Module
        Network with its final ``references``.
    """
    mean = mean_reference(model)
    found = statistics_of([scan_figures(volume, mean) for volume in volumes])
    if found and mean is not None:
        found["reference_sha256"] = _digest(mean)
    return found


def _digest(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image, "<f4").tobytes()).hexdigest()
