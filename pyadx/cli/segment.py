"""``pyadx segment``."""

from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import Orientation, Quiet, app


@app.command()
def segment(
    scan: Annotated[Path, typer.Argument(help="Scan: .nii, .nii.gz, .mgz or Analyze.", metavar="SCAN")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Label volumes to write, one per level: .nii.gz or .nii.")
    ],
    mask: Annotated[
        Path | None, typer.Option(help="Mask on the scan's voxels; default: where the scan is not zero.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="default, paper (gPb, mean boundary) or release (gPb, graph-based).")
    ] = "default",
    cue: Annotated[str | None, typer.Option(help="gradient, chi2 or gpb; default: the preset's.")] = None,
    linkage: Annotated[
        str | None, typer.Option(help="ward, hybrid, boundary or gbh; default: the preset's.")
    ] = None,
    levels: Annotated[int, typer.Option(help="Levels of the hierarchy, at most.")] = 20,
    max_regions: Annotated[int, typer.Option(help="Regions of the finest level, at most.")] = 500,
    min_size: Annotated[int | None, typer.Option(help="Voxels of the smallest region.")] = None,
    hierarchy: Annotated[
        Path | None, typer.Option(help="Also write the whole merge tree into this .npz.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw the hierarchy, as .png or .pdf.")] = None,
    orientation: Orientation = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    quiet: Quiet = False,
) -> None:
    """Segment one scan hierarchically: 3D ultrametric contour map, nested label volumes."""
    from pyadx.commands.explaining.segment import SegmentRequest, run_segment

    options = {
        "preset": preset, "cue": cue, "linkage": linkage, "max_levels": levels,
        "max_regions": max_regions, "min_size": min_size,
    }  # fmt: skip
    _, facts = run_segment(
        SegmentRequest(scan, out, options, mask, hierarchy, figure, overwrite, not quiet, orientation)
    )
    if not quiet:
        counts = " ".join(map(str, facts["regions_per_level"]))
        print(f"{facts['leaves']} leaves; regions per level: {counts}")
        print(f"3D-UCM in {facts['seconds']:.2f} s: {out}")
