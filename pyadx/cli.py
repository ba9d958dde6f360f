"""The ``pyadx`` command."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Visual explanations of 3D CNNs on brain MRI. Research software, not a medical device.",
)

_INTERRUPTED = 130  # the shell's code for a process that Ctrl-C ended

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no messages.")]


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


@app.command()
def segment(
    scan: Annotated[Path, typer.Argument(help="Scan: .nii, .nii.gz, .mgz or Analyze.", metavar="SCAN")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Label volumes to write, a level each: .nii.gz or .nii.")
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
    figure: Annotated[Path | None, typer.Option(help="Also draw the hierarchy into this PNG.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    quiet: Quiet = False,
) -> None:
    """Segment one scan hierarchically: 3D ultrametric contour map, nested label volumes."""
    from pyadx.commands.segment import SegmentRequest, run_segment

    options = {
        "preset": preset, "cue": cue, "linkage": linkage, "max_levels": levels,
        "max_regions": max_regions, "min_size": min_size,
    }  # fmt: skip
    _, facts = run_segment(
        SegmentRequest(scan, out, options, mask, hierarchy, figure, overwrite, not quiet)
    )
    if not quiet:
        counts = " ".join(map(str, facts["regions_per_level"]))
        print(f"{facts['leaves']} leaves; regions per level: {counts}")
        print(f"3D-UCM in {facts['seconds']:.2f} s: {out}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("demo-output"),
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Explain the MNI152 brain with an untrained network: Grad-CAM, strided occlusion, SA-3DUCM."""
    from pyadx.commands.demo import run_demo

    result = run_demo(out, device, progress=not quiet)
    if quiet:
        return
    for name, explanation in result.explanations.items():
        print(f"{name}: {explanation.sidecar['seconds']['explain']:.1f} s")
    print("The network is UNTRAINED (random weights): these maps show the methods, not a disease.")
    print(f"results: {result.folder.resolve()}")
    print(f"figures: {result.figure.resolve()}")
    print(f"         {result.hierarchy.resolve()}")


@app.command()
def info() -> None:
    """Print versions, what was built, CPU capability and GPU, and why CUDA is off if it is off."""
    from pyadx.commands.info import info_rows

    for name, value in info_rows():
        print(f"{name:13} {value}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Wrong use and wrong input give one line on standard error and exit code 2; a failure of the machine
    (disk, memory) one line and 1; Ctrl-C 130.
    """
    command: Any = typer.main.get_command(app)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = command.main(arguments or ["--help"], prog_name="pyadx", standalone_mode=False) or 0
        return _fail("interrupted", code) if code == _INTERRUPTED else code
    except (ValueError, TypeError) as error:
        return _fail(str(error), 2)
    except (OSError, MemoryError) as error:
        return _fail(str(error) or "out of memory", 1)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except RuntimeError as error:
        from pyadx.inference.batching import is_out_of_memory

        if type(error).__name__ == "Abort":  # typer turns Ctrl-C into this
            return _fail("interrupted", _INTERRUPTED)
        if is_out_of_memory(error):
            return _fail("out of memory even for a single scan; use a machine with more", 1)
        raise
    except Exception as error:
        # Usage errors of Typer, whose classes moved between versions, know their message and exit code.
        message, code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
        if message is None or code is None:
            raise
        return _fail(message(), code)


def _fail(message: str, code: int) -> int:
    print(f"pyadx: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def run() -> None:
    """Entry point of the ``pyadx`` script."""
    sys.exit(main())
