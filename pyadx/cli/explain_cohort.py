"""``pyadx explain-cohort``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyadx.cli.common import (
    Card,
    CohortPath,
    Derivative,
    Device,
    GroupColumn,
    Images,
    Method,
    Model,
    Quiet,
    Spaces,
    Strict,
    Target,
    Trust,
    Weights,
    app,
    continued,
    split_spaces,
)

if TYPE_CHECKING:
    from pyadx.commands.cohorts.explain_cohort import CohortResult


@app.command("explain-cohort")
def explain_cohort(
    cohort: CohortPath,
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for a BIDS derivative data set.")],
    method: Method,
    weights: Weights = None,
    card: Card = None,
    trust: Trust = False,
    images: Images = None,
    group_column: GroupColumn = None,
    derivative: Derivative = None,
    space: Spaces = None,
    sessions: Annotated[
        str, typer.Option(help="earliest: a scan per subject; all: every scan.")
    ] = "earliest",
    target: Target = "AD",
    engine: Annotated[str, typer.Option(help="local: processes of this machine; ray.")] = "local",
    workers: Annotated[int, typer.Option(help="Scans at a time.")] = 1,
    ray_address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster; default: this machine.")
    ] = None,
    gpus: Annotated[int, typer.Option(help="Ray: GPUs per scan.")] = 0,
    cpus: Annotated[
        int | None, typer.Option(help="Cores per scan; default: the machine's, shared out; on a cluster 1.")
    ] = None,
    device: Device = "auto",
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Explain every scan of a cohort; a second call continues where the first stopped."""
    from pyadx.commands.cohorts.explain_cohort import ExplainCohortRequest, run_explain_cohort
    from pyadx.commands.cohorts.workers import Workers
    from pyadx.commands.explaining.heatmaps import make_job
    from pyadx.data.cohort import CohortReading
    from pyadx.models.sources import ModelSource

    # Workers may have another working directory.
    scans, on_grid = split_spaces(space)
    job = make_job(method, ModelSource(model, weights, card, trust).absolute(), on_grid=on_grid)
    result = continued(run_explain_cohort)(
        ExplainCohortRequest(
            Path(os.path.abspath(cohort)),
            job,
            out,
            target,
            Workers(engine, workers, ray_address, gpus, cpus),
            device,
            not quiet,
            CohortReading(
                None if images is None else os.path.abspath(images),
                group_column,
                derivative,
                scans,
                sessions,
            ),
            strict,
        )
    )
    tell_result(result, out, quiet, 1)


def tell_result(result: "CohortResult", out: Path, quiet: bool, failed_code: int) -> None:
    """Say how many scans were explained; end with an exit code if some could not be."""
    if not quiet:
        rate = f", {result.done / result.seconds * 3600:,.0f} an hour" if result.done else ""
        spent = f"{result.seconds:.1f} s{rate}"
        print(f"{result.done} scans explained in {spent}; {result.before} were done before")
        if result.outside:
            print(
                f'{result.outside} scans are not like those that the network was trained on: "outside" in '
                "manifest.jsonl"
            )
        print(f"heatmaps and manifest.jsonl: {out}")
    if result.failed:
        first = result.failed[0]
        print(
            f"pyadx: error: {len(result.failed)} scans failed, such as {first.name} ({first.reason}); "
            f"all are in {out / 'manifest.jsonl'}",
            file=sys.stderr,
        )
        raise typer.Exit(failed_code)
