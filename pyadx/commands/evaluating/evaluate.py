"""``pyadx evaluate``: compare all methods on all regions, on scans that the network never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.commands.devices import pick_device
from pyadx.commands.evaluating.faithfulness_rows import Faithful, faithfulness_of, write_faithfulness
from pyadx.commands.evaluating.first_scan import draw_first
from pyadx.commands.evaluating.leakage import leakage
from pyadx.commands.evaluating.truth_rows import (
    TruthRow,
    check_twins,
    truth_markdown,
    truth_rows,
    write_truth,
)
from pyadx.commands.explaining.heatmaps import HeatmapJob, heatmap_of, make_job
from pyadx.commands.explaining.networks import Model, network
from pyadx.commands.explaining.provenance import check_target
from pyadx.commands.reporting.report import atlas_regions
from pyadx.commands.training.runs import reading_of, run_of, warn_of_other_reading
from pyadx.commands.training.setup import run_facts
from pyadx.commands.training.train import checkpoint_file
from pyadx.data.cohort import CohortReading, ScanRecord, read_cohort
from pyadx.data.cohort.splits import load_plan
from pyadx.data.derivatives import check_scans, start_derivatives
from pyadx.data.flatness import flat_words
from pyadx.data.phantom import planted_file, planted_regions
from pyadx.data.regions import find_labels, read_labels, regions_on_scan
from pyadx.data.scans import Scan, read_scan, read_volume
from pyadx.evaluation.costs import Cost, costs, write_costs
from pyadx.evaluation.scoreboard import Scoreboard, scoreboard_markdown, write_scores
from pyadx.files import check_writable_folder, replacing, together
from pyadx.inference.progress import progress_bar
from pyadx.models.sources import ModelSource
from pyadx.report.panels import check_figures_possible
from pyadx.report.precision_recall import save_precision_recall

_DEFAULT_METHODS = {
    "vggnet": ("occlusion", "sa3ducm", "gradcam:layer=conv4c", "gradcam:layer=conv2b"),
    "resnet": ("occlusion", "sa3ducm", "gradcam:layer=voxres9_out", "gradcam:layer=bn4"),
    "resnet-gap": ("sa3ducm", "cam", "gradcam:layer=bn4"),
    "resnet-shallow-gap": ("sa3ducm", "cam"),
}
_METHODS_OF_OTHERS = ("occlusion", "sa3ducm", "gradcam")


@dataclass(frozen=True)
class EvaluateRequest:
    """All inputs and options of an evaluation.

    ``run`` is the folder of a training, or any network. ``heatmaps`` is the derivative data set that
    heatmaps are kept in, by default one in ``out``. ``reading`` holds options for reading the cohort that
    differ from the run's. ``key`` names the numbers of another atlas's label volumes.
    """

    run: Model
    out: Path
    cohort: Path | None = None
    regions: str = "aseg"
    subjects: str | None = None
    methods: Sequence[str] | None = None
    heatmaps: Path | None = None
    target: str = "AD"
    inside: str = "brain"
    faithfulness: bool = False
    truth: bool = False
    device: str = "auto"
    progress: bool = True
    reading: Mapping[str, str | Path | None] = field(default_factory=dict)
    key: Path | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """A scan for the evaluation, with its regions on the scan's voxels."""

    record: ScanRecord
    scan: Scan
    regions: dict[str, np.ndarray]
    inside: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of an evaluation."""

    board: Scoreboard
    markdown: str
    warnings: list[str]
    costs: list[Cost]
    files: dict[str, Path]  # of the first scan, by method
    truth: list[TruthRow] = field(default_factory=list)


def run_evaluate(request: EvaluateRequest) -> Evaluation:
    """Evaluate; write heatmaps, tables and figures into a folder. Existing heatmaps are used again.

    Raises
    ------
    ValueError
        If an input or option does not fit. Raised before any heatmap is made.
    """
    check_figures_possible()
    if request.inside not in ("brain", "volume"):
        raise ValueError(f"--inside must be brain or volume, got {request.inside!r}")
    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"{request.out}: is a file, expected a folder for the results")
    check_writable_folder(request.out / "localization.csv" if request.out.exists() else request.out)
    pick_device(request.device)
    model, note = _network_of(request.run)
    card = network(model).card
    check_target(request.target, card.class_names)
    jobs = _jobs(request, model, card.architecture)
    source = request.cohort or (Path(note["cohort"]) if note else None)
    if source is None:
        raise ValueError(f"{request.run}: is not a folder of pyadx train; name the cohort with --cohort")
    reading = _reading(request, source, note or run_of(model.path))
    records = _chosen(request, source, card.class_names, reading)
    how = (source, request.regions, request.inside, request.key)
    subjects = [read_subject(record, *how) for record in records]
    if request.truth:
        check_twins([(subject.record.subject, subject.scan) for subject in subjects], source)
    evaluation = evaluate_jobs(
        jobs,
        subjects,
        request.out,
        source,
        target=request.target,
        device=request.device,
        progress=request.progress,
        faithfulness=request.faithfulness,
        truth=request.truth,
        root=request.heatmaps,
    )
    name = Path(str(request.run)).name
    words = f"{name}: {card.architecture}, {len(subjects)} scans, inside the {request.inside}"
    more = truth_markdown(evaluation.truth, evaluation.board) if evaluation.truth else ""
    return replace(evaluation, markdown=write_evaluation(evaluation.board, request.out, words, more))


def evaluate_jobs(
    jobs: Sequence[HeatmapJob],
    subjects: Sequence[Subject],
    out: Path,
    source: Path,
    *,
    target: str,
    device: str,
    progress: bool,
    faithfulness: bool = False,
    truth: bool = False,
    root: Path | None = None,
) -> Evaluation:
    """Make (or find) the heatmap of every scan by every method, and score them."""
    root = root or out / "derivatives" / "pyadx"
    for job in jobs:
        check_scans(root, [subject.record for subject in subjects], job.description)
    start_derivatives(root, source)
    out.mkdir(parents=True, exist_ok=True)
    board, warnings = Scoreboard(), []
    sidecars: list[tuple[str, dict[str, Any]]] = []
    faithful: list[Faithful] = []
    true: list[TruthRow] = []
    first: dict[str, np.ndarray] = {}
    about: dict[str, dict[str, Any]] = {}
    files: dict[str, Path] = {}
    with progress_bar("heatmaps", len(jobs) * len(subjects), progress) as advance:
        for job in jobs:
            for subject in subjects:
                name = subject.record.subject
                heat, facts, path = heatmap_of(job, root, subject.record, target, device, progress=False)
                board.add(job.name, name, heat, subject.regions, subject.inside)
                sidecars.append((job.name, facts))
                if words := flat_words(heat, "heatmap"):
                    warnings.append(f"{job.name} of {name}: {words}")
                warnings += leakage(job.model, name, facts)
                warnings += [f"{name}: {words}" for words in facts.get("checks", {}).get("outside", ())]
                if faithfulness:
                    faithful += faithfulness_of(job, name, subject.scan, heat, target, device)
                if truth:
                    true += truth_rows(
                        job, subject.record, subject.scan, heat, source, root, target, device
                    )
                if subject is subjects[0]:
                    first[job.name], about[job.name], files[job.name] = heat, facts, path
                advance(1)
    spent = costs(sidecars)
    with together():
        if faithful:
            write_faithfulness(out / "faithfulness.csv", faithful)
        if true:
            write_truth(out / "truth.csv", true)
        drawn = subjects[0]
        title = f"{drawn.record.subject} ({drawn.record.label})"
        draw_first(out, title, drawn.scan, drawn.regions, first, about)
        write_costs(out / "costs.csv", spent)
    return Evaluation(board, "", sorted(set(warnings)), spent, files, true)


def write_evaluation(board: Scoreboard, out: Path, title: str, more: str = "") -> str:
    """Write tables and curves; return the Markdown text, with extra sections appended."""
    curves = board.curves()
    text = f"# {title}\n\n" + scoreboard_markdown(board, curves) + (f"\n{more}" if more else "")
    shared = [region for region in board.regions if all(region in own for own in curves.values())]
    drawn = {method: {region: own[region] for region in shared} for method, own in curves.items()}
    with together():
        write_scores(out / "localization.csv", board.rows)
        with replacing(out / "localization.md") as (partial,):
            partial.write_text(text, encoding="utf-8")
        for kind in ("png", "pdf"):
            save_precision_recall(out / f"precision-recall.{kind}", drawn, title)
    return text


def read_subject(
    record: ScanRecord, cohort: Path, regions: str, inside: str, key: Path | None = None
) -> Subject:
    """Read a scan and its regions; for a synthetic patient also the place of the planted disease.

    Raises
    ------
    ValueError
        If a file is missing, cannot be read, or does not fit the scan.
    """
    scan = read_scan(record.path)
    root = cohort if cohort.is_dir() else cohort.parent
    labels = read_labels(find_labels(root, record.subject, regions))
    freesurfer = regions in ("aseg", "aparc+aseg") and key is None
    others = None if freesurfer else atlas_regions(labels, key)
    masks = regions_on_scan(labels, scan, others, union=False) if others else regions_on_scan(labels, scan)
    planted = planted_file(root, record.subject)
    if planted.is_file():
        change = read_volume(planted).data
        if change.shape == scan.data.shape:
            masks |= planted_regions(change)
    within = scan.data != 0 if inside == "brain" else None
    return Subject(record, scan, masks, within)


def _network_of(run: Model) -> tuple[ModelSource, dict[str, Any] | None]:
    """Return the network of a run, and what its folder says about the training."""
    source = ModelSource.of(run)
    folder = source.path
    if source.kind == "checkpoint" and folder is not None and folder.is_dir():
        return ModelSource.of(checkpoint_file(folder)), run_facts(folder)
    return source, None


def _jobs(request: EvaluateRequest, model: ModelSource, architecture: str) -> list[HeatmapJob]:
    if request.methods is not None:
        names: Sequence[str] = [name for text in request.methods for name in text.split()]
    else:
        names = _DEFAULT_METHODS.get(architecture, _METHODS_OF_OTHERS)
    if not names:
        raise ValueError("--methods is empty; name at least one method")
    return [make_job(name, model) for name in names]


def _reading(request: EvaluateRequest, source: Path, note: dict[str, Any] | None) -> CohortReading:
    """Read the cohort as the run did, unless options differ; warn if that selects other images."""
    trained = reading_of(note)
    own = note is not None and source.resolve() == Path(note["cohort"]).resolve()
    reading = ((trained if own else None) or CohortReading()).with_changes(**request.reading)
    warn_of_other_reading(trained, reading, source)
    return reading


def _chosen(
    request: EvaluateRequest, source: Path, class_names: tuple[str, ...], reading: CohortReading
) -> list[ScanRecord]:
    cohort = read_cohort(source, class_names, **asdict(reading))
    by_subject = {record.subject: record for record in cohort.scans}
    if request.subjects is not None:
        text = request.subjects
        if Path(text).is_file():
            text = Path(text).read_text(encoding="utf-8").replace("\n", ",")
        names = [name.strip() for name in text.split(",") if name.strip()]
    else:
        split = Path(str(request.run)) / "splits.json"
        names = list(load_plan(split).set_aside) if split.is_file() else []
        if not names:
            raise ValueError(f"{request.run}: set no subjects aside; name some with --subjects")
    unknown = [name for name in names if name not in by_subject]
    if unknown or not names:
        why = {e.subject: f" (left out: {e.reason})" for e in cohort.excluded}
        what = f"has no subject {unknown[0]}{why.get(unknown[0], '')}" if unknown else "--subjects is empty"
        raise ValueError(f"{source}: {what}")
    # The figure shows the first subject: a patient, if there is one.
    order = {name: place for place, name in enumerate(reversed(class_names))}
    return sorted((by_subject[name] for name in names), key=lambda r: (order[r.label], r.subject))
