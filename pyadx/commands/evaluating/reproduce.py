"""``pyadx reproduce``: Table 1 and Figures 2 and 3 of the paper on a cohort, and a group comparison."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pyadx.commands.cohorts.phantom import run_phantom
from pyadx.commands.devices import pick_device, software
from pyadx.commands.evaluating.evaluate import Subject, evaluate_jobs, read_subject, write_evaluation
from pyadx.commands.evaluating.paper_settings import GROUP_METHODS, PANELS, SETTINGS, Setting
from pyadx.commands.evaluating.reproduce_groups import GroupPart, compare_groups_of
from pyadx.commands.explaining.heatmaps import HeatmapJob
from pyadx.commands.reporting.report import ReportRequest, run_report
from pyadx.commands.training.crossval import CrossvalResult, run_crossval
from pyadx.commands.training.setup import TrainingRequest, parse_set_aside
from pyadx.commands.training.train import checkpoint_file
from pyadx.cores import usable_cores
from pyadx.data.cohort import Cohort, SplitPlan, plan_splits, read_cohort
from pyadx.data.phantom import is_synthetic
from pyadx.data.regions import find_labels
from pyadx.evaluation.costs import costs_markdown
from pyadx.evaluation.groups.permutations import check_nilearn
from pyadx.files import holds_results, replacing
from pyadx.markdown import markdown_table
from pyadx.report.panels import check_figures_possible
from pyadx.training.crossval import round_folder

_CLASSES = ("NC", "AD")
_NOTE = "reproduce.json"
_SUBJECTS = 103  # as in the paper


@dataclass(frozen=True)
class ReproduceRequest:
    """All inputs and options of a reproduction. Without ``cohort`` a synthetic cohort is made."""

    out: Path
    cohort: Path | None = None
    setting: str = "small"
    regions: str = "aseg"
    set_aside: str | None = None
    seed: int = 0
    device: str = "auto"
    progress: bool = True


def run_reproduce(request: ReproduceRequest) -> Path:
    """Cross-validate the four networks, explain the held-out scans, and write all tables and figures.

    Subjects, epochs and heatmaps that an earlier call finished in the folder are used again.

    Returns
    -------
    Path
        ``reproduction.md``, which shows all results.

    Raises
    ------
    ValueError
        If an input or option does not fit. As much as possible is checked before any training.
    """
    check_figures_possible()
    check_nilearn()
    if request.setting not in SETTINGS:
        raise ValueError(f"--setting must be one of {', '.join(SETTINGS)}, got {request.setting!r}")
    setting = SETTINGS[request.setting]
    pick_device(request.device)
    _start(request)
    source = request.cohort
    if source is None:
        source = request.out / "phantom"
        run_phantom(source, _SUBJECTS, request.seed, usable_cores(), request.progress)
    cohort = read_cohort(source, _CLASSES)
    aside = parse_set_aside(request.set_aside, _CLASSES)
    plan = plan_splits(cohort.labels, setting.splits, setting.folds, request.seed, aside)
    subjects = _subjects(cohort, plan, source, request.regions)

    trained = {
        name: run_crossval(_training(request, source, setting, name), keep_models=True)
        for name in setting.networks
    }
    # The held-out scans are in no round.
    first_round = plan.rounds[0].name
    checkpoints = {name: _checkpoint(request.out, name, first_round) for name in setting.networks}
    jobs = [
        HeatmapJob(
            panel.name,
            checkpoints[panel.architecture],
            panel.method.format(**asdict(setting.networks[panel.architecture])),
            panel.name,
        )
        for panel in PANELS
    ]
    evaluation = evaluate_jobs(
        jobs,
        subjects,
        request.out,
        source,
        target="AD",
        device=request.device,
        progress=request.progress,
    )
    kind = "SYNTHETIC cohort" if is_synthetic(source) else "cohort"
    title = f"{kind} {source.name}: {len(subjects)} scans set aside, inside the brain"
    localization = write_evaluation(evaluation.board, request.out, title)
    first = subjects[0].record
    run_report(
        ReportRequest(
            first.path,
            [evaluation.files[job.name] for job in jobs],
            request.out / "page.html",
            find_labels(source, first.subject, request.regions),
            f"{kind}: {first.subject} ({first.label})",
            overwrite=True,
        )
    )
    report = request.out / "reproduction.md"
    text = _report(request, setting, f"{kind} {source.name}", trained, plan)
    text += localization.partition("\n\n")[2] + "\n## Cost of the heatmaps\n\n"
    text += f"Means over {len(subjects)} scans; {_machine(request)}.\n\n{costs_markdown(evaluation.costs)}"
    text += f"\n## Groups: {kind}, all {len(cohort.scans)} subjects\n\n"
    text += compare_groups_of(_groups(request, setting, source, cohort, plan))
    with replacing(report) as (partial,):
        partial.write_text(text, encoding="utf-8")
    return report


def _start(request: ReproduceRequest) -> None:
    """Make the folder; refuse a folder that holds another reproduction or other files."""
    out = request.out
    facts = {
        "cohort": None if request.cohort is None else str(request.cohort),
        "setting": request.setting,
        "regions": request.regions,
        "set_aside": request.set_aside,
        "seed": request.seed,
    }
    note = out / _NOTE
    if holds_results(out, _NOTE, "reproduction"):
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{note}: is damaged ({error}); choose another folder") from None
        if different := [name for name in facts if found.get(name) != facts[name]]:
            raise ValueError(
                f"{out}: holds a reproduction with another {', '.join(different)}; choose another folder"
            )
    (out / "table-1").mkdir(parents=True, exist_ok=True)
    with replacing(note) as (partial,):
        partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _subjects(cohort: Cohort, plan: SplitPlan, source: Path, regions: str) -> list[Subject]:
    """Read the held-out scans, patients first, to report missing regions before any training."""
    if not plan.set_aside:
        raise ValueError("--set-aside none leaves no scan to explain")
    chosen = [record for record in cohort.scans if record.subject in plan.set_aside]
    chosen.sort(key=lambda record: (-_CLASSES.index(record.label), record.subject))
    return [read_subject(record, source, regions, "brain") for record in chosen]


def _training(
    request: ReproduceRequest, source: Path, setting: Setting, architecture: str
) -> TrainingRequest:
    network = setting.networks[architecture]
    return TrainingRequest(
        source,
        request.out / "table-1" / architecture,
        architecture=architecture,
        splits=setting.splits,
        folds=setting.folds,
        set_aside=request.set_aside,
        seed=request.seed,
        protocol_changes=dict(network.changes),
        shape=str(network.shape),
        spacing=network.spacing,
        device=request.device,
        resume=True,
        progress=request.progress,
    )


def _groups(
    request: ReproduceRequest, setting: Setting, source: Path, cohort: Cohort, plan: SplitPlan
) -> GroupPart:
    """Return the methods for the groups: pyadx's defaults on the VGGNets of the first split."""
    sizes = asdict(setting.networks["vggnet"])
    return GroupPart(
        request.out, source, cohort, plan, setting.folds,
        lambda name: _checkpoint(request.out, "vggnet", name),
        {title: method.format(**sizes) for title, method in GROUP_METHODS.items()},
        request.regions, request.device, request.progress,
    )  # fmt: skip


def _checkpoint(out: Path, architecture: str, name: str) -> Path:
    """Return the network of a round."""
    path = checkpoint_file(round_folder(out / "table-1" / architecture, name))
    if not path.is_file():
        raise ValueError(f"{path}: is missing; cross-validate with --keep-models, or delete the folder")
    return path


def _report(
    request: ReproduceRequest,
    setting: Setting,
    where: str,
    trained: dict[str, CrossvalResult],
    plan: SplitPlan,
) -> str:
    lines = [
        f"# The experiments of Yang et al. (2018) on the {where}",
        "",
        f"Setting `{request.setting}`, seed {request.seed}, {_machine(request)}. The paper's numbers "
        "differ, because its cohort is another one.",
        "",
        "## Table 1: classification",
        "",
        f"Mean and standard deviation (ddof 0) over {setting.splits} x {setting.folds} rounds.",
        "",
    ]
    rows = []
    for name, result in trained.items():
        network, summary = setting.networks[name], result.summary
        protocol = asdict(result.protocol)
        seconds = sum(one["seconds"] for one in result.rounds) / len(result.rounds)
        auc, accuracy = (f"{m:.3f} +- {s:.3f}" for m, s in (summary.auc, summary.accuracy))
        grid = f"{network.shape}^3 at {network.spacing:g} mm"
        rate = f"{protocol['learning_rate']:g}"
        rows.append([name, grid, protocol["epochs"], rate, auc, accuracy, f"{seconds:.0f}"])
    columns = ("network", "grid", "epochs", "learning rate", "AUC", "accuracy", "training, s per round")
    lines.append(markdown_table(columns, rows, words=2).rstrip())
    windows = ", ".join(
        f"{name} window {one.window}, stride {one.stride}"
        for name, one in setting.networks.items()
        if name in ("vggnet", "resnet")
    )
    lines += [
        "",
        "## Figure 2: heatmaps of one scan",
        "",
        "![All heatmaps of one scan](comparison.png)",
        "",
        f"Networks of round {plan.rounds[0].name}; occlusion in voxels of the network's grid: {windows}. "
        "[page.html](page.html) shows the same scan interactively.",
        "",
        "## Figure 3: localisation",
        "",
        "![Precision-recall curves of all methods](precision-recall.png)",
        "",
    ]
    return "\n".join(lines) + "\n"


def _machine(request: ReproduceRequest) -> str:
    facts = software(pick_device(request.device))
    return ", ".join(f"{name} {value}" for name, value in facts.items())
