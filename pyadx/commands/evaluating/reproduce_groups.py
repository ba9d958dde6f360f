"""Group comparison of ``pyadx reproduce``: maps of all subjects, by networks that never saw them."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from pyadx.commands.cohorts.explain_cohort import ExplainCohortRequest, run_explain_cohort
from pyadx.commands.cohorts.workers import Workers
from pyadx.commands.explaining.heatmaps import make_job
from pyadx.commands.groups.group import run_group
from pyadx.commands.groups.request import NOTE, GroupRequest
from pyadx.commands.reporting.group_figure import draw_group_figure
from pyadx.commands.reporting.group_results import read_group
from pyadx.cores import usable_cores
from pyadx.data.cohort import Cohort, SplitPlan
from pyadx.data.group_maps import maps_below
from pyadx.data.heatmaps import image_on_scan
from pyadx.data.literature_maps import on_grid
from pyadx.data.majority_labels import majority_labels
from pyadx.data.regions import find_labels, read_labels
from pyadx.data.scans import Scan, read_volume
from pyadx.data.tsv import write_tsv
from pyadx.files import replacing
from pyadx.markdown import markdown_table

_CONTRAST = ("AD", "NC")
_SAME_PLACE = 1e-3  # tolerance of affines, mm


@dataclass(frozen=True)
class GroupPart:
    """Inputs of the comparison of groups.

    Attributes
    ----------
    out : Path
        Folder of the reproduction. The comparison is written to its subfolder ``groups``.
    source : Path
        The cohort's folder.
    cohort : Cohort
        Its scans.
    plan : SplitPlan
        Training subjects of each network. The rounds of the first split are used.
    folds : int
        Rounds of a split.
    checkpoint : callable
        Returns the network of a round by the round's name.
    methods : mapping
        Titles and spellings of methods.
    regions : str
        As for `find_labels`.
    device, progress
        As for ``pyadx reproduce``.
    """

    out: Path
    source: Path
    cohort: Cohort
    plan: SplitPlan
    folds: int
    checkpoint: Callable[[str], Path]
    methods: dict[str, str]
    regions: str
    device: str
    progress: bool


def compare_groups_of(part: GroupPart) -> str:
    """Explain every subject, compare the groups, draw ``groups.png``; return Markdown about it.

    Each subject is explained by the network of the round that held it out. The first network explains the
    subjects set aside. If the scans are in different spaces, the Markdown says so instead.
    """
    reason = _apart(part.cohort)
    if reason:
        return f"Not compared: {reason}. Maps of a group need scans in one common space.\n"
    folder = part.out / "groups"
    folder.mkdir(exist_ok=True)
    people = folder / "participants.tsv"
    rows = [{"participant_id": _bids(s.subject), "group": s.label} for s in part.cohort.scans]
    with replacing(people) as (partial,):
        write_tsv(partial, ["participant_id", "group"], rows)
    found, atlas = [], folder / "atlas_dseg.nii.gz"
    for title, spelling in part.methods.items():
        maps = _explained(part, folder / "maps" / title, spelling)
        if not atlas.is_file():
            _write_atlas(part, atlas, read_volume(maps_below(maps[0])[0]))
        out = folder / title
        if not (out / NOTE).is_file():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # maps do not name their space; it was checked above
                run_group(_request(part, maps, people, atlas, out))
        found.append((title, out))
    return _words(part, found)


def _apart(cohort: Cohort) -> str:
    """Name scans that are not in one space; empty if all are."""
    first, *others = cohort.scans
    here: Any = nib.load(first.path)  # headers only
    for other in others:
        there: Any = nib.load(other.path)
        if there.shape[:3] != here.shape[:3] or not np.allclose(
            there.affine, here.affine, atol=_SAME_PLACE
        ):
            return f"the scans of {first.subject} and {other.subject} do not lie on the same voxels"
    return ""


def _explained(part: GroupPart, folder: Path, spelling: str) -> list[Path]:
    """Explain all subjects on the network's grid; return the folders of maps, one per network."""
    maps = []
    for place, one in enumerate(part.plan.rounds[: part.folds]):
        subjects = (*one.test, *(part.plan.set_aside if place == 0 else ()))
        out = folder / one.name
        job = make_job(spelling, part.checkpoint(one.name), on_grid=True)
        count = 1 if part.device.startswith("cuda") else usable_cores()
        result = run_explain_cohort(
            ExplainCohortRequest(
                part.source, job, out, _CONTRAST[0], Workers(count=count), part.device, part.progress,
                only=frozenset(subjects),
            )
        )  # fmt: skip
        if result.failed:
            one_of = result.failed[0]
            raise ValueError(f"{one_of.subject}: cannot be explained for the groups ({one_of.reason})")
        maps.append(out)
    return maps


def _write_atlas(part: GroupPart, path: Path, grid: Scan) -> None:
    """Write the majority label of the second group at every voxel, on the grid of the maps."""
    controls = [scan for scan in part.cohort.scans if scan.label == _CONTRAST[1]]
    volumes = (read_labels(find_labels(part.source, one.subject, part.regions)) for one in controls)
    labels = majority_labels(volumes, grid)
    with replacing(path) as (partial,):
        nib.save(image_on_scan(labels, grid, "pyadx majority of labels"), partial)


def _request(part: GroupPart, maps: Sequence[Path], people: Path, atlas: Path, out: Path) -> GroupRequest:
    return GroupRequest(
        tuple(path.absolute() for path in maps), people, " - ".join(_CONTRAST), out, regions=atlas,
        several_networks=True, workers=Workers(count=usable_cores()), progress=part.progress,
    )  # fmt: skip


def _words(part: GroupPart, found: Sequence[tuple[str, Path]]) -> str:
    """Draw the figure; return Markdown with it, a table of regions and the shuffled-label controls."""
    results = [(title, read_group(folder)) for title, folder in found]
    grid = results[0][1].image(_CONTRAST[0], "mean")
    control = next(one for one in part.cohort.scans if one.label == _CONTRAST[1])
    scan = read_volume(control.path)
    beneath = Scan(
        scan.path, grid.image, on_grid(scan.data.astype(np.float32), scan.affine, grid), grid.geometry
    )
    title = f"Heatmaps of {_CONTRAST[0]} and {_CONTRAST[1]}, over the scan of {control.subject}"
    draw_group_figure(part.out / "groups.png", [(name, one, beneath) for name, one in results], title)
    rows = [
        [
            name,
            each.name,
            *("n/a" if value is None else f"{value:.3g}" for value in (each.g, each.p, each.q)),
        ]
        for name, one in results
        for each in one.regions()
    ]
    table = markdown_table(("method", "region", "Hedges' g", "p", "q"), rows, words=2)
    told = [f"- {name}: with shuffled labels {one.shuffled}" for name, one in results]
    return (
        "![Where the groups differ](groups.png)\n\nEach subject is explained by the network of the round "
        f"that held it out ({part.folds} networks, a covariate). Maps are on the network's grid and "
        "divided by the sum of their absolute values. Regions: majority labels of the controls.\n\n"
        + table
        + "\n"
        + "\n".join(told)
        + "\n"
    )


def _bids(subject: str) -> str:
    return subject if subject.startswith("sub-") else f"sub-{subject}"
