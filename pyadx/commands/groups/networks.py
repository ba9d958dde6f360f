"""Maps of other networks: what they find of a finding, and what one of shuffled labels finds."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.groups.analysis import Analysis, analyse
from pyadx.commands.groups.journal import Journal
from pyadx.commands.groups.moving import with_transforms
from pyadx.commands.groups.passes import first_readable
from pyadx.commands.groups.request import GroupRequest
from pyadx.commands.groups.sample import Sample, read_sample
from pyadx.data.group_maps import kind_of
from pyadx.data.scans import Scan
from pyadx.evaluation.groups.permutations import ALPHA
from pyadx.evaluation.groups.region_statistics import is_found

REPLICATE, SHUFFLED = "replicate", "shuffled labels"
NETWORK_COLUMNS = {
    "network": "The other network: position among those of its kind.",
    "kind": "replicate: should find the same; shuffled labels: should find nothing.",
    "weights_sha256": "Hash of its weights.",
    "name": "The region.",
    "n": "Subjects.",
    "mean": "Difference of means, as in the table of the contrast.",
    "hedges_g": "Standardised difference.",
    "p_fdr": "Its q.",
    "agrees": "Whether q < 0.05 and the difference has the sign that it has in the main analysis.",
}


@dataclass(frozen=True, eq=False)
class OtherNetwork:
    """What the same analysis finds on maps of another network.

    Attributes
    ----------
    kind : str
        `REPLICATE` or `SHUFFLED`.
    number : int
        From 1 on, of its kind.
    weights : str or None
        Hash, where sidecars tell it.
    counts : dict
        Subjects of each group.
    r : float
        Correlation of its difference map with that of the main analysis, where both were compared.
    voxels : int or None
        Voxels below the family-wise level.
    shared : int or None
        Of those that the main analysis found, how many it finds with the same sign.
    regions : list of dict
        Rows with the keys `NETWORK_COLUMNS`.
    """

    kind: str
    number: int
    weights: str | None
    counts: dict[str, int]
    r: float
    voxels: int | None
    shared: int | None
    regions: list[dict[str, Any]]

    def agrees_on(self, region: str) -> bool:
        """Say whether it finds a region with the sign of the main analysis."""
        return any(one["agrees"] for one in self.regions if one["name"] == region)

    def facts(self) -> dict[str, Any]:
        """Return what ``group.json`` says of it."""
        return {
            "kind": self.kind,
            "number": self.number,
            "weights_sha256": self.weights,
            "n": self.counts,
            "r": None if np.isnan(self.r) else self.r,
            "voxels_found": self.voxels,
            "voxels_shared": self.shared,
            "regions_found": [one["name"] for one in self.regions if is_found(one)],
            "regions_agreeing": [one["name"] for one in self.regions if one["agrees"]],
        }


@dataclass(frozen=True)
class OtherSample:
    """Maps of another network, chosen and checked but not read.

    Attributes
    ----------
    kind : str
        `REPLICATE` or `SHUFFLED`.
    number : int
        From 1 on, of its kind.
    request : GroupRequest
        The main one, for these maps.
    sample : Sample
        Who is in it.
    """

    kind: str
    number: int
    request: GroupRequest
    sample: Sample


def read_others(request: GroupRequest, main: Sample) -> list[OtherSample]:
    """Choose the maps of other networks, and check that they can be compared with the main ones.

    Raises
    ------
    ValueError
        If they are of the same network, another method, class, space or grid, or no sample can be made.
    """
    asked = [(REPLICATE, at, path) for at, path in enumerate(request.replicates, 1)]
    asked += [(SHUFFLED, at, path) for at, path in enumerate(request.shuffled_networks, 1)]
    # Maps that are moved come to the grid of the reference.
    grid = None
    if asked and request.reference is None:
        grid = first_readable(one.path for one in main.maps)
    others: list[OtherSample] = []
    own_weights = _weights(main)
    known = {} if own_weights is None else {own_weights: "MAPS"}
    for kind, number, path in asked:
        option = _option(kind)
        own = replace(request, maps=(path,), null=0, compare=None, replicates=(), shuffled_networks=())
        sample = with_transforms(own, read_sample(own))
        _check_alike(f"{option} {path}", main, sample)
        weights = _weights(sample)
        if weights is not None and weights in known:
            raise ValueError(
                f"{option} {path}: holds maps of the network that {known[weights]} are of; give maps of "
                "another one"
            )
        if weights is not None:
            known[weights] = f"those of {path}"
        _check_labels(kind, path, sample)
        if grid is not None:
            _check_grid(f"{option} {path}", sample, grid)
        others.append(OtherSample(kind, number, own, sample))
    return others


def compare_networks(main: Analysis, others: Sequence[OtherSample], work: Journal) -> list[OtherNetwork]:
    """Run the analysis on the maps of every other network, and compare what it finds with the main one.

    The journal takes the parts of each in a folder of its own.
    """
    found = []
    for one in others:
        folder = work.folder / f"{one.kind.replace(' ', '-')}-{one.number}"
        folder.mkdir(exist_ok=True)
        analysis = analyse(one.request, one.sample, Journal(folder))
        voxels, shared = _shared(main, analysis)
        counts = [sums.count for sums in analysis.sums]
        weights = _weights(analysis.sample)
        rows = [
            {"network": one.number, "kind": one.kind, "weights_sha256": weights, **row}
            for row in _regions(main, analysis)
        ]
        found.append(
            OtherNetwork(
                one.kind, one.number, weights, dict(zip(analysis.sample.groups, counts, strict=True)),
                _correlation(main, analysis), voxels, shared, rows,
            )
        )  # fmt: skip
    return found


def _check_alike(what: str, main: Sample, other: Sample) -> None:
    first, second = main.maps[0], other.maps[0]
    _, method, target, _ = kind_of(first)
    _, other_method, other_target, _ = kind_of(second)
    for name, one, two in (
        ("method", method, other_method),
        ("class", target, other_target),
        ("space", first.space, second.space),
    ):
        if one != two:
            raise ValueError(
                f"{what}: its maps are of the {name} {two or 'none named'}, MAPS of {one or 'none named'}; "
                "networks are compared by maps of one kind"
            )


def _check_grid(what: str, sample: Sample, grid: Scan) -> None:
    there = first_readable(one.path for one in sample.maps)
    if not there.lies_on(grid):
        raise ValueError(
            f"{what}: {there.path.name} does not lie on the voxels of {grid.path.name}; maps of all "
            "networks need one grid in one space"
        )


def _check_labels(kind: str, path: Path, sample: Sample) -> None:
    """Compare what was asked with what sidecars say of the labels that the network was trained on."""
    facts = sample.maps[0].facts
    if facts is None:
        return
    shuffled = bool((facts.get("model") or {}).get("shuffled_labels"))
    if kind == REPLICATE and shuffled:
        raise ValueError(
            f"--replicate {path}: its network was trained on shuffled labels; use --shuffled-network"
        )
    if kind == SHUFFLED and not shuffled:
        warnings.warn(
            f"--shuffled-network {path}: no sidecar says that its network was trained on shuffled labels",
            UserWarning,
            stacklevel=4,
        )


def _option(kind: str) -> str:
    return "--replicate" if kind == REPLICATE else "--shuffled-network"


def _weights(sample: Sample) -> str | None:
    """Return the hash of a sample's network; of several, their hashes joined."""
    return "+".join(sample.networks) or None


def _difference(analysis: Analysis, values: np.ndarray | None = None) -> np.ndarray:
    whole = np.zeros(analysis.mask.shape)
    one, two = analysis.sums
    whole[analysis.mask] = one.mean - two.mean if values is None else values
    return whole


def _correlation(main: Analysis, other: Analysis) -> float:
    both = main.mask & other.mask
    one, two = _difference(main)[both], _difference(other)[both]
    if both.sum() < 2 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return float("nan")
    return float(np.corrcoef(one, two)[0, 1])


def _shared(main: Analysis, other: Analysis) -> tuple[int | None, int | None]:
    if main.test.p is None or other.test.p is None:
        return None, None
    one, two = (
        _difference(each, np.where(each.test.p < ALPHA, np.sign(each.test.t), 0))  # type: ignore[operator]
        for each in (main, other)
    )
    return int((two != 0).sum()), int(((one != 0) & (one == two)).sum())


def _regions(main: Analysis, other: Analysis) -> list[dict[str, Any]]:
    """Return the rows of the contrast, with whether they agree with those of the main analysis."""
    groups = main.sample.groups
    signs = {
        row["name"]: np.sign(row["mean"])
        for row in main.region_tests.contrast("groups", groups)
        if row["mean"] is not None
    }
    return [
        {
            **{name: row[name] for name in ("name", "n", "mean", "hedges_g", "p_fdr")},
            "agrees": bool(is_found(row) and np.sign(row["mean"]) == signs.get(row["name"])),
        }
        for row in other.region_tests.contrast("groups", groups)
    ]
