"""``pyadx report``."""

from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import FigureMask, Orientation, Quiet, Slices, Threshold, app


@app.command()
def report(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Page to write: .html; or a still figure: .png or .pdf.")
    ],
    scan: Annotated[
        Path | None, typer.Argument(help="The scan that was explained.", metavar="SCAN", show_default=False)
    ] = None,
    heatmaps: Annotated[
        list[Path] | None,
        typer.Argument(help="Heatmaps on its voxels.", metavar="HEATMAP...", show_default=False),
    ] = None,
    group: Annotated[
        Path | None, typer.Option(help="Instead of a scan: the folder that pyadx group wrote.")
    ] = None,
    regions: Annotated[
        Path | None, typer.Option(help="Label volume: FreeSurfer's, or any atlas in the scan's space.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Names of the atlas' numbers; default: the file beside it.")
    ] = None,
    background: Annotated[
        Path | None,
        typer.Option(
            help="With --group: image beneath the maps, on their grid; default: the MNI152 brain."
        ),
    ] = None,
    subjects: Annotated[
        int | None,
        typer.Option(
            help="With --group: number of single subjects shown, those most and least like their "
            "group's mean; default: up to 12, fewer where maps are large."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading.")] = None,
    slices: Slices = None,
    threshold: Threshold = None,
    figure_mask: FigureMask = None,
    orientation: Orientation = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Put a scan and its heatmaps, or groups of them, into one page that opens offline, or a figure."""
    from pyadx.commands.figures import FigureOptions
    from pyadx.commands.reporting.group_report import GroupReportRequest, run_group_report
    from pyadx.commands.reporting.report import ReportRequest, run_report

    drawn = FigureOptions(slices, threshold, figure_mask)
    if group is not None:
        if scan is not None:
            raise ValueError("give a SCAN and its heatmaps, or --group FOLDER, not both")
        of_group = (background, regions, key, title, subjects, orientation, overwrite, drawn)
        size = run_group_report(GroupReportRequest(group, out, *of_group))
    else:
        if scan is None:
            raise ValueError("give a SCAN and its heatmaps, or --group FOLDER")
        if background is not None or subjects is not None:
            raise ValueError("--background and --subjects belong to --group")
        of_scan = (regions, title, overwrite, orientation, key, drawn)
        size = run_report(ReportRequest(scan, heatmaps or [], out, *of_scan))
    if not quiet:
        print(f"{out}: {size / 1e6:.1f} MB")
