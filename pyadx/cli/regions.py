"""``pyadx regions``."""

from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import Quiet, app


@app.command()
def regions(
    heatmap: Annotated[Path, typer.Argument(help="Heatmap: .nii, .nii.gz or .mgz.", metavar="HEATMAP")],
    regions: Annotated[Path, typer.Option(help="Label volume of an atlas in the same space, of any grid.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to write: .tsv; a .json beside it.")],
    key: Annotated[
        Path | None,
        typer.Option(help="Names of its numbers: TSV, CSV, text, ITK-SNAP, FSL XML; default: beside it."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Threshold of fraction_above; default: 95th percentile of labelled voxels."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing table.")] = False,
    quiet: Quiet = False,
) -> None:
    """Tabulate a heatmap over the regions of an atlas, and compare left and right."""
    from pyadx.commands.reporting.regions import RegionsRequest, run_regions

    rows = run_regions(RegionsRequest(heatmap, regions, out, key, threshold, overwrite))
    if not quiet:
        best = sorted((row for row in rows if row["rank"]), key=lambda row: row["rank"])[:3]
        print(f"{len(rows)} regions; strongest: {', '.join(row['name'] for row in best)}")
        print(out)
