"""``pyadx flip``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import Card, Device, Model, Orientation, Quiet, Strict, Trust, Weights, app


@app.command()
def flip(
    scan: Annotated[Path, typer.Argument(help="Scan: .nii, .nii.gz, .mgz or Analyze.", metavar="SCAN")],
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Label volume of the regions: .nii.gz or .nii.")],
    weights: Weights = None,
    card: Card = None,
    trust: Trust = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Find regions that alone keep the class, with all others filled."),
    ] = False,
    regions: Annotated[
        Path | None, typer.Option(help="Atlas in the scan's space; default: the scan's own segments.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Names of the atlas' numbers; default: the file beside it.")
    ] = None,
    fill: Annotated[
        str, typer.Option(help="What regions are filled with: local, controls, mean, ... or a file.")
    ] = "local",
    max_regions: Annotated[int, typer.Option(help="Segments of a scan without an atlas.")] = 50,
    target: Annotated[str | None, typer.Option(help="Class; default: the predicted one.")] = None,
    orientation: Orientation = "auto",
    device: Device = "auto",
    strict: Strict = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    quiet: Quiet = False,
) -> None:
    """Find the fewest regions without which the predicted class changes; write them as a label volume."""
    from pyadx.commands.explaining.flip import FlipRequest, run_flip
    from pyadx.models.sources import ModelSource

    found = run_flip(
        FlipRequest(
            scan, ModelSource(model, weights, card, trust), out, keep, regions, key, fill, max_regions,
            target, orientation, device, strict, overwrite, not quiet,
        )
    )  # fmt: skip
    for warning in () if quiet else found.warnings:
        print(f"pyadx: warning: {warning}", file=sys.stderr)
    if quiet:
        return
    print(found.words)
    for name, change in found.rows:
        print(f"  {name:30} {change:+.3f}")
    print(f"regions: {out}")
