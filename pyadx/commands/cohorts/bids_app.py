"""``pyadx bids``: the levels of a BIDS-App, on top of ``explain-cohort`` and the group analysis."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyadx.commands.cohorts.bids_validation import check_is_bids, check_valid_bids
from pyadx.commands.cohorts.explain_cohort import CohortResult, ExplainCohortRequest, run_explain_cohort
from pyadx.commands.cohorts.workers import Workers
from pyadx.commands.devices import pick_device
from pyadx.commands.explaining.heatmaps import HeatmapJob
from pyadx.data.cohort import CohortReading
from pyadx.data.cohort.bids_filters import ScanFilter
from pyadx.files import check_writable_folder

LEVELS = ("participant", "group")
# Peak memory of a process at 110^3, VGGNet: 0.51 GB for Grad-CAM, 0.66 GB for occlusion and SA-3DUCM.
_MB_PER_WORKER = 1000
_NOT_OURS = ("sourcedata", "code", "stimuli")  # folders that BIDS reserves for other purposes


@dataclass(frozen=True)
class BidsAppRequest:
    """The participant level of a BIDS-App.

    Attributes
    ----------
    bids_dir, out_dir : Path
        The data set, and the derivative data set to make or to continue.
    job : HeatmapJob
        Method and network.
    target : str
        Class to explain.
    reading : CohortReading
        Derivative and space of the scans.
    wanted : ScanFilter
        Participants, sessions and entities.
    n_cpus, mem_mb : int, optional
        Cores and megabytes that all scans share.
    work : Path, optional
        Folder for the scores of unfinished maps, so that an interrupted run can continue.
    device : str
        As for ``pyadx explain``.
    progress, strict, validate : bool
        Show progress bars; refuse scans unlike those the network was made for; validate the data set.
    """

    bids_dir: Path
    out_dir: Path
    job: HeatmapJob
    target: str
    reading: CohortReading = field(default_factory=lambda: CohortReading(sessions="all"))
    wanted: ScanFilter = field(default_factory=ScanFilter)
    n_cpus: int | None = None
    mem_mb: int | None = None
    work: Path | None = None
    device: str = "auto"
    progress: bool = True
    strict: bool = False
    validate: bool = True


def run_participant_level(request: BidsAppRequest) -> CohortResult:
    """Explain every requested T1w scan; a second call continues where the first one stopped.

    Raises
    ------
    ValueError
        If the data set, a label, the network or an option does not fit. Raised before any scan is
        explained.
    """
    check_is_bids(request.bids_dir)
    for option, folder in (("OUT_DIR", request.out_dir), ("--work-dir", request.work)):
        if folder is not None:
            _check_outside(option, folder, request.bids_dir)
    workers = _workers(request)
    if request.validate:
        check_valid_bids(request.bids_dir)
    if request.work is not None:
        _make_work_folder(request.work)
    return run_explain_cohort(
        ExplainCohortRequest(
            request.bids_dir,
            request.job,
            request.out_dir,
            request.target,
            workers,
            request.device,
            request.progress,
            request.reading,
            request.strict,
            request.wanted,
            request.work,
        )
    )


@dataclass(frozen=True)
class BidsGroupRequest:
    """The group level of a BIDS-App. Everything else is as in `pyadx group`.

    Attributes
    ----------
    bids_dir, out_dir : Path
        The data set, and its derivatives with maps.
    contrast : str or None
        Such as ``AD - NC``.
    covariates : tuple of str
        Columns of ``participants.tsv``.
    regions, key : Path, optional
        Atlas in the maps' space and the names of its numbers.
    session : str, optional
        Take maps of this session only.
    n_cpus : int, optional
        Cores.
    overwrite, progress : bool
        Replace earlier results; show bars.
    """

    bids_dir: Path
    out_dir: Path
    contrast: str | None
    covariates: tuple[str, ...] = ()
    regions: Path | None = None
    key: Path | None = None
    session: str | None = None
    n_cpus: int | None = None
    overwrite: bool = False
    progress: bool = True


def run_group_level(request: BidsGroupRequest) -> dict[str, Any]:
    """Compare groups of participant-level maps; write the folder ``group`` and its page ``group.html``.

    Both lie in the output folder.

    Returns
    -------
    dict
        As `pyadx.commands.groups.group.run_group`.

    Raises
    ------
    ValueError
        If there are no maps, no contrast is given, or the analysis cannot be done.
    """
    from pyadx.commands.groups.group import run_group
    from pyadx.commands.groups.request import GroupRequest
    from pyadx.commands.reporting.group_report import GroupReportRequest, run_group_report
    from pyadx.report.panels import check_figures_possible

    check_is_bids(request.bids_dir)
    if not (request.out_dir / "manifest.jsonl").is_file():
        raise ValueError(f"{request.out_dir}: holds no maps; run the participant level first")
    if request.contrast is None:
        raise ValueError("the group level compares two groups: --contrast 'AD - NC'")
    check_figures_possible()
    out = request.out_dir / "group"
    facts = run_group(
        GroupRequest(
            (request.out_dir.absolute(),),
            request.bids_dir / "participants.tsv",
            request.contrast,
            out,
            covariates=request.covariates,
            regions=request.regions,
            key=request.key,
            session=request.session,
            workers=Workers(count=request.n_cpus or 1),
            overwrite=request.overwrite,
            progress=request.progress,
        )
    )
    run_group_report(GroupReportRequest(out, out / "group.html", overwrite=True))
    return facts


def _check_outside(option: str, folder: Path, data_set: Path) -> None:
    """Refuse an output folder among the scans: results there would be read as raw data."""
    way = Path(os.path.relpath(folder.resolve(), data_set.resolve()))
    first = way.parts[0] if way.parts else ""
    if first == "" or first.startswith("sub-") or first in _NOT_OURS:
        raise ValueError(
            f"{option} {folder}: is among the scans; choose {data_set / 'derivatives' / 'pyadx'} or "
            "another folder"
        )


def _make_work_folder(folder: Path) -> None:
    """Make the work folder before the run: a folder that cannot be made would fail every scan."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--work-dir {folder}: cannot be made ({error.strerror})") from None
    check_writable_folder(folder / "scores")


def _workers(request: BidsAppRequest) -> Workers:
    """Share out cores and memory: on the CPU one worker per core, if memory allows; one worker on a GPU."""
    for option, given in (("--n-cpus", request.n_cpus), ("--mem-mb", request.mem_mb)):
        if given is not None and given < 1:
            raise ValueError(f"{option} must be at least 1, got {given}")
    count = 1 if pick_device(request.device).type == "cuda" else request.n_cpus or 1
    if request.mem_mb is not None:
        count = max(1, min(count, request.mem_mb // _MB_PER_WORKER))
    return Workers(count=count, cores=request.n_cpus)
