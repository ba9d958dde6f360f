"""``pyadx bids``: pyadx as a BIDS-App."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from pyadx.cli.common import (
    Card,
    Device,
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
from pyadx.cli.explain_cohort import tell_result
from pyadx.cli.group import column_names, tell

_SEVERAL = ("--participant-label", "--participant_label", "--session-label", "--session_label")


def spread(arguments: Sequence[str]) -> list[str]:
    """Write ``--participant-label 01 02`` as two options: BIDS-Apps take several values after one."""
    found: list[str] = []
    option = ""
    for word in arguments:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            option = name if name in _SEVERAL else ""
            found += [word] if value or not option else []
        else:
            found += [option, word] if option else [word]
    return found


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args))


@app.command(cls=_Command)
def bids(
    bids_dir: Annotated[Path, typer.Argument(help="BIDS data set.", metavar="BIDS_DIR")],
    out_dir: Annotated[Path, typer.Argument(help="Derivative data set to make.", metavar="OUT_DIR")],
    level: Annotated[str, typer.Argument(help="participant or group.", metavar="LEVEL")],
    participant_label: Annotated[
        list[str] | None,
        typer.Option(
            "--participant-label",
            "--participant_label",
            help="Participants; default: all.",
            metavar="LABEL...",
        ),
    ] = None,
    session_label: Annotated[
        list[str] | None,
        typer.Option(
            "--session-label", "--session_label", help="Sessions; default: all.", metavar="LABEL..."
        ),
    ] = None,
    bids_filter_file: Annotated[
        Path | None, typer.Option(help='JSON such as {"t1w": {"acquisition": "mprage"}}.')
    ] = None,
    derivatives: Annotated[
        str | None, typer.Option(help="Take scans from derivatives/NAME.", metavar="NAME")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Network, as for explain-cohort; participant level.", metavar="NETWORK"),
    ] = None,
    method: Annotated[str | None, typer.Option(help="NAME[:option=value,...]; participant level.")] = None,
    weights: Weights = None,
    card: Card = None,
    trust: Trust = False,
    target: Target = "AD",
    space: Spaces = None,
    contrast: Annotated[str | None, typer.Option(help='Group level: such as "AD - NC".')] = None,
    covariates: Annotated[
        str | None, typer.Option(help="Group level: columns of participants.tsv, such as age,sex.")
    ] = None,
    regions: Annotated[
        Path | None, typer.Option(help="Group level: label volume of an atlas in the maps' space.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Group level: names of its numbers.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Group level: replace earlier results.")
    ] = False,
    n_cpus: Annotated[
        int | None,
        typer.Option("--n-cpus", "--n_cpus", help="Cores for all scans; default: the machine's."),
    ] = None,
    mem_mb: Annotated[
        int | None, typer.Option("--mem-mb", "--mem_mb", help="Memory for all scans; default: no bound.")
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", "-w", help="Folder for scores of unfinished maps.")
    ] = None,
    skip_bids_validation: Annotated[
        bool, typer.Option("--skip-bids-validation", help="Do not validate the data set.")
    ] = False,
    device: Device = "auto",
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Explain the T1w scans of a BIDS data set, or compare groups, with the command line of BIDS-Apps."""
    from pyadx.commands.cohorts.bids_app import (
        LEVELS,
        BidsAppRequest,
        BidsGroupRequest,
        run_group_level,
        run_participant_level,
    )
    from pyadx.commands.explaining.heatmaps import make_job
    from pyadx.data.cohort import CohortReading
    from pyadx.data.cohort.bids_filters import ScanFilter, plain_labels, read_filter_file
    from pyadx.models.sources import ModelSource

    if level not in LEVELS:
        raise ValueError(f"LEVEL must be one of {', '.join(LEVELS)}, got {level!r}")
    bids_dir, out_dir = Path(os.path.abspath(bids_dir)), Path(os.path.abspath(out_dir))
    if level == "group":
        sessions = plain_labels(session_label or (), "ses-")
        if participant_label:
            raise ValueError(
                "--participant-label belongs to the participant level; the group level takes everybody in "
                "participants.tsv"
            )
        if len(sessions) > 1:
            raise ValueError("the group level compares one map per subject: give one --session-label")
        facts = continued(run_group_level)(
            BidsGroupRequest(
                bids_dir,
                out_dir,
                contrast,
                column_names(covariates),
                regions,
                key,
                sessions[0] if sessions else None,
                n_cpus,
                overwrite,
                not quiet,
            )
        )
        if not quiet:
            tell(facts)
            print(out_dir / "group")
        return
    if model is None or method is None:
        raise ValueError("the participant level needs --model and --method")
    scans, on_grid = split_spaces(space)
    wanted = ScanFilter(
        plain_labels(participant_label or (), "sub-"),
        plain_labels(session_label or (), "ses-"),
        {} if bids_filter_file is None else read_filter_file(bids_filter_file),
    )
    result = continued(run_participant_level)(
        BidsAppRequest(
            bids_dir,
            out_dir,
            make_job(method, ModelSource(model, weights, card, trust).absolute(), on_grid=on_grid),
            target,
            CohortReading(derivative=derivatives, space=scans, sessions="all"),
            wanted,
            n_cpus,
            mem_mb,
            None if work_dir is None else Path(os.path.abspath(work_dir)),
            device,
            not quiet,
            strict,
            not skip_bids_validation,
        )
    )
    tell_result(result, out_dir, quiet, 2)
