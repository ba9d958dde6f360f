"""``pyadx explain``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyadx.cli.common import (
    Card,
    Device,
    FigureMask,
    Method,
    Model,
    Orientation,
    Quiet,
    Slices,
    Strict,
    Threshold,
    Trust,
    Weights,
    app,
    by_resume,
    continued,
)

if TYPE_CHECKING:
    from pyadx.commands.explaining.explain import ExplainedScan


@app.command()
def explain(
    scans: Annotated[
        list[Path],
        typer.Argument(
            help="Scan: .nii, .nii.gz, .mgz or Analyze; several, or a folder.", metavar="SCAN..."
        ),
    ],
    model: Model,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Heatmap to write: .nii.gz or .nii; of several scans a folder."),
    ],
    weights: Weights = None,
    card: Card = None,
    trust: Trust = False,
    method: Method = "gradcam",
    target: Annotated[
        str | None, typer.Option(help="Class to explain, by name or index; default: the predicted one.")
    ] = None,
    channel: Annotated[
        list[Path] | None,
        typer.Option(
            help="Further image of the same person, such as T2, for a network of several channels."
        ),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(help="Atlas in the scan's space, for shapley and flip; default: the scan's segments."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Names of the atlas' numbers; default: beside it.")
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="Columns of the key that group regions, such as hemisphere,lobe, for shapley."),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Mask on the scan's voxels: regions are filled inside it only.")
    ] = None,
    second_reference: Annotated[
        str | None,
        typer.Option(help="Also make a map with another reference; say how far the two agree."),
    ] = None,
    orientation: Orientation = "auto",
    device: Device = "auto",
    batch_size: Annotated[str, typer.Option(help="auto or a number.")] = "auto",
    figure: Annotated[Path | None, typer.Option(help="Also draw the heatmap, as .png or .pdf.")] = None,
    slices: Slices = None,
    threshold: Threshold = None,
    figure_mask: FigureMask = None,
    table: Annotated[
        Path | None, typer.Option(help="Also write the regions of shapley or flip into this TSV.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted.")
    ] = False,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Explain one or more scans: write heatmaps in each scan's own space, with a JSON sidecar."""
    from pyadx.commands.explaining.explain import ExplainRequest, run_explain
    from pyadx.commands.explaining.several import is_folder, run_several, scans_in
    from pyadx.commands.figures import FigureOptions
    from pyadx.data.heatmaps import scores_path
    from pyadx.models.sources import ModelSource

    request = ExplainRequest(
        scans[0],
        ModelSource(model, weights, card, trust),
        out,
        method,
        target,
        device,
        batch_size,
        figure,
        overwrite,
        resume,
        not quiet,
        orientation,
        strict=strict,
        mask=mask,
        second_reference=second_reference,
        channels=tuple(channel or ()),
        regions=regions,
        key=key,
        groups=tuple(name.strip() for name in (groups or "").split(",") if name.strip()),
        table=table,
        drawn=FigureOptions(slices, threshold, figure_mask),
    )
    if len(scans) == 1 and not is_folder(scans[0]):
        way = by_resume(lambda: scores_path(out).exists(), resume)
        _tell(out, continued(run_explain, way)(request), quiet)
        return
    found = scans_in(scans)
    # After --overwrite nothing tells the new heatmaps from the old ones.
    way = by_resume(lambda: not overwrite, resume)
    failed = continued(run_several, way)(
        found, request, lambda path, explanation: _tell(path, explanation, quiet)
    )
    for path, reason in failed:
        print(f"pyadx: error: {path.name}: {' '.join(reason.split())}", file=sys.stderr)
    if failed:
        print(f"pyadx: error: {len(failed)} of {len(found)} scans could not be explained", file=sys.stderr)
        raise typer.Exit(1)


def _tell(out: Path, explanation: "ExplainedScan", quiet: bool) -> None:
    from pyadx.commands.explaining.references import comparison_words

    if quiet:
        return
    for warning in explanation.warnings:
        print(f"pyadx: warning: {warning}", file=sys.stderr)
    facts = explanation.sidecar
    prediction = ", ".join(f"{name} {p:.3f}" for name, p in facts["prediction"].items())
    print(f"prediction: {prediction}")
    if "second_reference" in facts:
        print(comparison_words(facts["second_reference"]))
    if summary := facts["report"]["summary"]:
        print(f"APPROXIMATE map: {summary}" if facts["report"]["approximate"] else summary)
    print(f"{facts['spelling']} of {facts['target']['name']} in {facts['seconds']['explain']:.2f} s: {out}")
