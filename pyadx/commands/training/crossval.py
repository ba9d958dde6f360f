"""``pyadx crossval``: the paper's 25 rounds, resumable, in sequence or on Ray."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pyadx.commands.training.setup import Setup, TrainingRequest, set_up
from pyadx.commands.training.train import EpochMeter
from pyadx.data.inputs import PreparedScans
from pyadx.files import together
from pyadx.inference.progress import progress_bar
from pyadx.report.panels import check_figures_possible
from pyadx.report.roc import save_roc
from pyadx.training.crossval import Summary, finished, run_rounds, summarise, write_tables
from pyadx.training.loop import Epoch
from pyadx.training.protocols import Protocol
from pyadx.training.ray_rounds import run_rounds_on_ray
from pyadx.training.ray_session import check_ray


@dataclass(frozen=True)
class CrossvalResult:
    """All rounds, and their mean and standard deviation."""

    summary: Summary
    rounds: list[dict[str, Any]]
    title: str
    protocol: Protocol


def run_crossval(
    request: TrainingRequest,
    parallel: str = "none",
    ray_address: str | None = None,
    workers: int | None = None,
    keep_models: bool = False,
) -> CrossvalResult:
    """Run a cross-validation; write tables and a ROC plot into its folder.

    Raises
    ------
    ValueError
        If an input or option does not fit. Raised before any training.
    """
    if parallel not in ("none", "ray"):
        raise ValueError(f"--parallel must be none or ray, got {parallel!r}")
    if parallel == "none" and (ray_address is not None or workers is not None):
        raise ValueError("--ray-address and --workers belong to --parallel ray")
    if parallel == "ray":
        check_ray("--parallel ray")
    check_figures_possible()
    setup = set_up(request)
    done = [] if request.overwrite else finished(setup.folder, setup.plan)
    if len(done) < len(setup.plan.rounds):
        scans = setup.read()
        with ExitStack() as stack:
            if parallel == "ray":
                advance = stack.enter_context(
                    progress_bar("rounds", len(setup.plan.rounds) - len(done), request.progress)
                )
                run_rounds_on_ray(
                    setup.folder,
                    setup.plan,
                    scans,
                    setup.recipe,
                    setup.hardware,
                    address=ray_address,
                    workers=workers,
                    keep_models=keep_models,
                    on_round=lambda result: advance(1),
                )
            else:
                _run_here(stack, setup, scans, keep_models, request.progress)
    results = finished(setup.folder, setup.plan)
    title = _title(setup, request)
    with together():
        write_tables(setup.folder, results, title)
        save_roc(setup.folder / "roc.png", results, title)
    return CrossvalResult(summarise(results), results, title, setup.recipe.protocol)


def _run_here(stack: ExitStack, setup: Setup, scans: PreparedScans, keep_models: bool, shown: bool) -> None:
    rounds, epochs = setup.plan.rounds, setup.recipe.protocol.epochs
    meter = EpochMeter(stack, len(rounds[0].train), epochs, len(rounds)) if shown else None
    place = {one.name: i for i, one in enumerate(rounds)}

    def tell(name: str, done: list[Epoch]) -> None:
        if meter is not None:
            meter.epoch(done, name, place[name])

    run_rounds(
        setup.folder,
        setup.plan,
        scans,
        setup.recipe,
        setup.hardware,
        keep_models=keep_models,
        on_batch=meter.advance if meter else lambda count: None,
        on_epoch=tell,
    )


def _title(setup: Setup, request: TrainingRequest) -> str:
    control = ", training labels SHUFFLED (control)" if request.shuffle_labels else ""
    epochs = setup.recipe.protocol.epochs
    return f"{setup.recipe.card.architecture} on {request.cohort.name}, {epochs} epochs{control}"
