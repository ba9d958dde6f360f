"""``pyadx report``."""

from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import Orientation, Quiet, app


@app.command()
def report(
    scan: Annotated[Path, typer.Argument(help="The scan that was explained.", metavar="SCAN")],
    heatmaps: Annotated[list[Path], typer.Argument(help="Heatmaps on its voxels.", metavar="HEATMAP...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write: .html.")],
    regions: Annotated[
        Path | None, typer.Option(help="Label volume: FreeSurfer's, or any atlas in the scan's space.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Names of the atlas' numbers; default: the file beside it.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    orientation: Orientation = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
    quiet: Quiet = False,
) -> None:
    """Put a scan and its heatmaps into one page that opens offline in any browser."""
    from pyadx.commands.reporting.report import ReportRequest, run_report

    size = run_report(ReportRequest(scan, heatmaps, out, regions, title, overwrite, orientation, key))
    if not quiet:
        print(f"{out}: {size / 1e6:.1f} MB")
