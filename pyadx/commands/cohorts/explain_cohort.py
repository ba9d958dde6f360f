"""``pyadx explain-cohort``: a heatmap of every scan of a cohort, on one or several machines."""

import errno
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pyadx.commands.cohorts.freed_memory import return_freed_memory
from pyadx.commands.cohorts.manifest import Entry, Manifest, file_sha256, place_of
from pyadx.commands.cohorts.workers import Workers, check_workers, run_tasks
from pyadx.commands.devices import pick_device
from pyadx.commands.explaining.heatmaps import HeatmapJob, hash_in, heatmap_of
from pyadx.commands.explaining.networks import network
from pyadx.commands.explaining.provenance import check_target
from pyadx.commands.training.runs import reading_of, run_of, warn_of_other_reading
from pyadx.data.cohort import Cohort, CohortReading, ScanRecord, read_cohort
from pyadx.data.cohort.bids import read_bids
from pyadx.data.cohort.bids_filters import ScanFilter
from pyadx.data.cohort.records import class_of
from pyadx.data.derivatives import check_scans, entities_on_grid, start_derivatives
from pyadx.inference.batching import is_out_of_memory
from pyadx.inference.progress import progress_bar
from pyadx.models.card import ModelCard
from pyadx.models.sources import ModelSource
from pyadx.training.ray_session import in_a_line

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class ExplainCohortRequest:
    """All inputs and options for the heatmaps of a cohort.

    ``reading`` says how the cohort is read. Scans of every group are explained. ``wanted`` selects scans
    of a BIDS data set, ``only`` selects subjects. ``work`` is a folder for temporary files of unfinished
    heatmaps.
    """

    cohort: Path
    job: HeatmapJob
    out: Path
    target: str
    workers: Workers
    device: str = "auto"
    progress: bool = True
    reading: CohortReading = field(default_factory=CohortReading)
    strict: bool = False
    wanted: ScanFilter | None = None
    work: Path | None = None
    only: frozenset[str] | None = None


@dataclass(frozen=True)
class CohortResult:
    """Number of scans explained in this call, explained before, and failed; duration in seconds.

    ``outside`` counts scans of this call that are unlike those that the network was made for.
    """

    done: int
    before: int
    failed: list[Entry]
    seconds: float
    outside: int = 0


@dataclass(frozen=True)
class Task:
    """One scan to explain. Idempotent: its output is written to a temporary file and then renamed."""

    job: HeatmapJob
    root: Path
    record: ScanRecord
    target: str
    device: str
    network: str
    request: str
    strict: bool = False
    work: Path | None = None


def run_explain_cohort(request: ExplainCohortRequest) -> CohortResult:
    """Explain every scan that is not done yet; note a scan that fails, and continue with the others.

    Writes a BIDS derivative data set, ``manifest.jsonl`` and ``excluded.csv`` (excluded scans and reasons)
    into the folder.

    Raises
    ------
    ValueError
        If the cohort, network, method or engine does not fit. Raised before any scan is explained.
    """
    check_workers(request.workers)
    if request.workers.address is None:
        pick_device(request.device)
    spec = request.job.spec
    net = network(request.job.model)
    names = net.card.class_names
    check_target(request.target, names)
    run = run_of(ModelSource.of(request.job.model).path)
    warn_of_other_reading(reading_of(run), request.reading, request.cohort)
    cohort = _cohort(request, net.card)
    check_scans(request.out, cohort.scans, spec.description)
    start_derivatives(request.out, request.cohort if request.cohort.is_dir() else request.cohort.parent)
    _tell_left_out(request, cohort)
    workers = request.workers.at_most(len(cohort.scans))
    asked = _request_hash(request, net.sha256)
    work = request.work and request.work / asked  # keeps the scores of different requests apart
    manifest = Manifest(request.out / "manifest.jsonl")
    started = time.perf_counter()
    failed: list[Entry] = []
    before = done = outside = 0
    root = request.out.resolve()

    def tasks() -> Iterator[Task]:
        nonlocal before
        for record in cohort.scans:
            if manifest.is_done(record, asked):
                before += 1
                advance(1)
                continue
            what = (record, request.target, request.device, net.sha256, asked, request.strict, work)
            yield Task(request.job, root, *what)

    with progress_bar("scans", len(cohort.scans), request.progress) as advance:
        for task, result in run_tasks(explain_one, tasks(), workers):
            entry = result
            if not isinstance(entry, Entry):
                reason = f"its worker was lost several times ({in_a_line(result)})"
                entry = replace(_entry(task), reason=reason)
            manifest.add(entry)
            if entry.status == "done":
                done += 1
                outside += bool(entry.outside)
            else:
                failed.append(entry)
            advance(1)
    return CohortResult(done, before, failed, time.perf_counter() - started, outside)


def explain_one(task: Task) -> Entry:
    """Explain one scan. An error of this scan becomes its entry; an error that ends the run is raised."""
    started = time.perf_counter()
    record = task.record
    failure = ""
    try:
        _, facts, path = heatmap_of(
            task.job,
            task.root,
            record,
            task.target,
            task.device,
            progress=False,
            strict=task.strict,
            work=task.work,
        )
    except (ValueError, TypeError, MemoryError) as error:
        failure = str(error) or type(error).__name__
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise  # every other scan would fail, too
        failure = "out of memory" if is_out_of_memory(error) else in_a_line(error)
    else:
        if hash_in(facts["model"], "weights_sha256") != task.network:
            raise ValueError(f"{task.job.model}: has changed since this run began; start it again")
    return_freed_memory()
    # File names only: folder names may contain names of people, projects or machines.
    failure = failure.replace(f"{record.path.parent}{os.sep}", "")
    seconds = round(time.perf_counter() - started, 4)
    if failure:
        return replace(_entry(task), reason=" ".join(failure.split()), seconds=seconds)
    file, digest = str(path.relative_to(task.root)), file_sha256(path)
    outside = tuple(facts.get("checks", {}).get("outside", ()))
    entry = replace(_entry(task), status="done", seconds=seconds, file=file, file_sha256=digest)
    return replace(entry, outside=outside)


def _entry(task: Task) -> Entry:
    """Return the manifest entry of a scan that could not be explained."""
    record = task.record
    return Entry(
        record.subject,
        record.path.name,
        task.request,
        "failed",
        entities=record.entities,
        label=record.label,
        place=place_of(record.path),
    )


def _cohort(request: ExplainCohortRequest, card: ModelCard) -> Cohort:
    """Read scans of every group. Labels that mean a class of the network get that class's name."""
    if request.wanted is None:
        cohort = read_cohort(request.cohort, None, **asdict(request.reading))
    else:
        cohort = read_bids(request.cohort, None, request.reading, request.wanted)
    if request.only is not None:
        scans = tuple(scan for scan in cohort.scans if scan.subject in request.only)
        cohort = replace(cohort, scans=scans)
    named = (
        replace(scan, label=class_of(scan.label, card.class_names) or scan.label) for scan in cohort.scans
    )
    if request.job.on_grid:
        spacing = card.preprocessing.spacing
        named = (replace(scan, entities=entities_on_grid(scan.entities, spacing)) for scan in named)
    return replace(cohort, scans=tuple(named))


def _tell_left_out(request: ExplainCohortRequest, cohort: Cohort) -> None:
    path = request.out / "excluded.csv"
    cohort.write_excluded(path)
    if cohort.excluded:
        reasons = [f"{count} x {reason}" for reason, count in cohort.reasons().items()]
        more = f", and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
        warnings.warn(
            f"{len(cohort.excluded)} scans or subjects are left out ({', '.join(reasons[:3])}{more}); all "
            f"are listed in {path}",
            UserWarning,
            stacklevel=2,
        )


def _request_hash(request: ExplainCohortRequest, model: str) -> str:
    facts = [request.job.spec.canonical, model, request.target]
    facts += ["on the network's grid"] if request.job.on_grid else []
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
