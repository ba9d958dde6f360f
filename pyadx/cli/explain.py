"""``pyadx explain``."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pyadx.cli.app import Device, Quiet, app


@app.command()
def explain(
    scan: Annotated[Path, typer.Argument(help="Scan: .nii, .nii.gz, .mgz or Analyze.", metavar="SCAN")],
    model: Annotated[Path, typer.Option(help="Checkpoint of the network (.safetensors).", metavar="CKPT")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Heatmap to write: .nii.gz or .nii.")],
    method: Annotated[str, typer.Option(help="occlusion, sa3ducm, cam or gradcam.")] = "gradcam",
    target: Annotated[
        str | None, typer.Option(help="Class to explain, by name or index; default: the predicted one.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Grad-CAM: name of the layer.")] = None,
    rectify: Annotated[str | None, typer.Option(help="CAM, Grad-CAM: abs (default), relu or none.")] = None,
    align: Annotated[
        str | None, typer.Option(help="CAM, Grad-CAM: stretch (default) or receptive_field.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Occlusion: window in voxels (default 7).")] = None,
    stride: Annotated[int | None, typer.Option(help="Occlusion: stride in voxels (default 1).")] = None,
    levels: Annotated[
        int | None, typer.Option(help="SA-3DUCM: levels of the hierarchy (default 20).")
    ] = None,
    max_regions: Annotated[
        int | None, typer.Option(help="SA-3DUCM: regions of the finest level (default 500).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="SA-3DUCM: default, paper or release (see pyadx segment).")
    ] = None,
    aggregate: Annotated[
        str | None, typer.Option(help="SA-3DUCM: mean (default) or max over the levels.")
    ] = None,
    signed: Annotated[bool, typer.Option("--signed", help="SA-3DUCM: keep the sign of changes.")] = False,
    fill: Annotated[float | None, typer.Option(help="Occlusion, SA-3DUCM: fill value (default 0).")] = None,
    engine: Annotated[
        str | None, typer.Option(help="Occlusion, SA-3DUCM: auto (default), incremental or full.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Occlusion, SA-3DUCM: float32 (default), tf32 or bf16.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Occlusion: bound for cache and batches, such as 4G.", metavar="SIZE")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Occlusion: approximate map within so many seconds, coarse to fine."),
    ] = None,
    score: Annotated[str | None, typer.Option(help="probability or logit; default: the paper's.")] = None,
    device: Device = "auto",
    batch_size: Annotated[str, typer.Option(help="auto or a number.")] = "auto",
    figure: Annotated[Path | None, typer.Option(help="Also draw the heatmap into this PNG.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Occlusion: go on with a run that was interrupted.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Explain one scan: write a heatmap in the scan's own space, with a JSON sidecar."""
    from pyadx.commands.explain import ExplainRequest, run_explain

    given: dict[str, Any] = {
        "layer": layer, "rectify": rectify, "align": align, "window": window, "stride": stride,
        "fill": fill, "score": score, "engine": engine, "precision": precision, "max_memory": max_memory,
        "budget": budget, "levels": levels, "max_regions": max_regions, "preset": preset,
        "aggregate": aggregate, "signed": signed or None,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    request = ExplainRequest(
        scan,
        model,
        out,
        method,
        options,
        target,
        device,
        batch_size,
        figure,
        overwrite,
        resume,
        not quiet,
    )
    explanation = run_explain(request)
    if quiet:
        return
    for warning in explanation.warnings:
        print(f"pyadx: warning: {warning}", file=sys.stderr)
    facts = explanation.sidecar
    prediction = ", ".join(f"{name} {p:.3f}" for name, p in facts["prediction"].items())
    print(f"prediction: {prediction}")
    if facts.get("occlusion", {}).get("approximate"):
        print(f"APPROXIMATE map: {facts['occlusion']['approximation']}")
    if "supervoxels" in facts:
        counts = facts["supervoxels"]
        print(
            f"{counts['pairs']} segments on {counts['levels']} levels, {counts['nodes']} distinct, "
            f"{counts['skipped']} without effect"
        )
    print(f"{facts['method']} of {facts['target']['name']} in {facts['seconds']['explain']:.2f} s: {out}")
