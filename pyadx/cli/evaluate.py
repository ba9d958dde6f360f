"""``pyadx evaluate`` and ``pyadx reproduce``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import (
    Card,
    Derivative,
    Device,
    GroupColumn,
    Images,
    Quiet,
    Space,
    Target,
    Trust,
    Weights,
    app,
    continued,
)


@app.command()
def evaluate(
    run: Annotated[
        str, typer.Argument(help="Folder of pyadx train, or a network as for pyadx explain.", metavar="RUN")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tables, figures and heatmaps.")],
    weights: Weights = None,
    card: Card = None,
    trust: Trust = False,
    cohort: Annotated[Path | None, typer.Option(help="Default: the one that RUN was trained on.")] = None,
    images: Images = None,
    group_column: GroupColumn = None,
    derivative: Derivative = None,
    space: Space = None,
    regions: Annotated[
        str, typer.Option(help="aseg, aparc+aseg, or a pattern in the data set with {subject}.")
    ] = "aseg",
    key: Annotated[
        Path | None,
        typer.Option(help="Names of the numbers in --regions; default: beside it, or FreeSurfer's."),
    ] = None,
    subjects: Annotated[
        str | None, typer.Option(help="Ids, or a file of ids; default: those RUN set aside.")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help="Such as 'cam occlusion:stride=3': separated by spaces, or the option repeated; default: "
            "those that suit the network."
        ),
    ] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option(help="Derivatives to find heatmaps in and to keep them in; default: in the folder."),
    ] = None,
    target: Target = "AD",
    inside: Annotated[str, typer.Option(help="Voxels that count: brain or volume.")] = "brain",
    faithfulness: Annotated[
        bool, typer.Option("--faithfulness", help="Also deletion and insertion curves.")
    ] = False,
    truth: Annotated[
        bool,
        typer.Option(
            "--truth",
            help="Also compare with what planted disease does to the network (phantoms).",
        ),
    ] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure how well methods find regions: precision-recall, pointing game, relevance.

    The cohort of RUN is read as the run read it. Options override this; the value none clears one.
    """
    from pyadx.commands.evaluating.evaluate import EvaluateRequest, run_evaluate
    from pyadx.models.sources import ModelSource

    request = EvaluateRequest(
        ModelSource(run, weights, card, trust),
        out,
        cohort,
        regions,
        subjects,
        methods,
        heatmaps,
        target,
        inside,
        faithfulness,
        truth,
        device,
        not quiet,
        {"images": images, "group_column": group_column, "derivative": derivative, "space": space},
        key,
    )
    evaluation = continued(run_evaluate)(request)
    for warning in evaluation.warnings:
        print(f"pyadx: warning: {warning}", file=sys.stderr)
    if not quiet:
        print(evaluation.markdown)
        print(f"results: {out}")


@app.command()
def reproduce(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything; resumed if begun.")],
    cohort: Annotated[
        Path | None, typer.Option(help="BIDS folder with aseg labels; default: a synthetic cohort.")
    ] = None,
    setting: Annotated[
        str, typer.Option(help="small: under an hour on two cores; full: the paper's, on a GPU.")
    ] = "small",
    regions: Annotated[str, typer.Option(help="As for pyadx evaluate.")] = "aseg",
    set_aside: Annotated[
        str | None, typer.Option(help="Subjects to explain; default AD=5,NC=3, as in the paper.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic cohort, splits and weights.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the paper's experiments: Table 1, Figure 2, Figure 3, and what every method costs."""
    from pyadx.commands.evaluating.reproduce import ReproduceRequest, run_reproduce

    report = continued(run_reproduce)(
        ReproduceRequest(out, cohort, setting, regions, set_aside, seed, device, not quiet)
    )
    if not quiet:
        print(f"tables and figures: {report}")
