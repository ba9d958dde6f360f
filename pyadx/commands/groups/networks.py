"""Maps of other networks: replications of the finding, and a control trained on shuffled labels."""

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
    "network": "Number of the other network among those of its kind.",
    "kind": "replicate: should find the same; shuffled labels: should find nothing.",
    "weights_sha256": "Hash of its weights.",
    "name": "The region.",
    "n": "Subjects.",
    "mean": "Difference of means, as in the table of the contrast.",
    "hedges_g": "Standardised difference.",
    "p_fdr": "Its q.",
    "agrees": "True if q < 0.05 and the difference has the same sign as in the main analysis.",
}


@dataclass(frozen=True, eq=False)
class OtherNetwork:
    """Results of the same analysis on maps of another network.

    Attributes
    ----------
    kind : str
        `REPLICATE` or `SHUFFLED`.
    number : int
        Number among those of its kind, from 1.
        weights : str or None
        Hash of the weights, if sidecars name it.
    counts : dict
        Number of subjects in each group.
    r : float
        Correlation of both difference maps where both analyses have voxels.
    voxels : int or None
        Number of voxels with a family-wise p below the level.
    shared : int or None
        Number of voxels that both analyses find, with the same sign.
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
        """Return whether this analysis finds a region, with the same sign as the main analysis."""
        return any(one["agrees"] for one in self.regions if one["name"] == region)

    def facts(self) -> dict[str, Any]:
        """Return its entry in ``group.json``."""
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
    """Maps of another network, selected and checked but not read.

    Attributes
    ----------
    kind : str
        `REPLICATE` or `SHUFFLED`.
    number : int
        From 1 on, of its kind.
    request : GroupRequest
        The main request, with these maps.
    sample : Sample
        The subjects and their maps.
    """

    kind: str
    number: int
    request: GroupRequest
    sample: Sample


def read_others(request: GroupRequest, main: Sample) -> list[OtherSample]:
    """Select the maps of other networks, and check that they can be compared with the main ones.

    Raises
    ------
    ValueError
        If they are of the same network, or of another method, class, space or grid, or if no sample can
        be made.
    """
    asked = [(REPLICATE, at, path) for at, path in enumerate(request.replicates, 1)]
    asked += [(SHUFFLED, at, path) for at, path in enumerate(request.shuffled_networks, 1)]
    # Moved maps are on the grid of the reference.
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
                f"{option} {path}: holds maps of the same network as {known[weights]}; give maps of "
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
    """Run the analysis on the maps of every other network, and compare it with the main analysis.

    The journal has a folder for the parts of each network.
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
    """Check the option against the sidecars, which say whether the training labels were shuffled."""
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
    """Return the hash of a sample's network, or the joined hashes of several."""
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
    """Return the rows of the contrast, with their agreement with the main analysis."""
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
