"""``pyadx demo``, ``pyadx methods`` and ``pyadx info``."""

from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import Card, Device, Quiet, Trust, Weights, app


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("demo-output"),
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Explain a synthetic patient with trained networks: SA-3DUCM, strided occlusion, CAM, Grad-CAM."""
    from pyadx.commands.explaining.demo import run_demo

    result = run_demo(out, device, progress=not quiet)
    if quiet:
        return
    for name, explanation in result.explanations.items():
        found, seconds = explanation.sidecar["prediction"]["AD"], explanation.sidecar["seconds"]["explain"]
        architecture = explanation.sidecar["model"]["architecture"]
        print(
            f"{name}: AP {result.precision[name]:.3f}, {seconds:.1f} s; {architecture} says AD with "
            f"probability {found:.2f}"
        )
    print(result.words())
    print(
        f"The patient is SYNTHETIC (severity {result.patient.severity:.2f} of 1), and so is the cohort "
        "that the networks learned from: these maps say nothing about real patients.\n"
        "planted.nii.gz is where the disease is."
    )
    print(f"results: {result.folder.resolve()}")
    print(f"figures: {result.figure.resolve()}")
    print(f"         {result.hierarchy.resolve()}")


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="Method whose options are listed.")] = None,
) -> None:
    """List all methods with their question and cost, or the options of one method."""
    from pyadx.commands.explaining.methods import method_lines, option_lines

    print("\n".join(method_lines() if name is None else option_lines(name)))


@app.command()
def info(
    model: Annotated[
        str | None, typer.Option(help="Describe this network instead, layer by layer.", metavar="NETWORK")
    ] = None,
    weights: Weights = None,
    card: Card = None,
    trust: Trust = False,
) -> None:
    """Print versions, built libraries, and why CUDA is off; with --model, what slows a network down."""
    from pyadx.commands.reporting.info import info_rows

    if model is not None:
        from pyadx.commands.reporting.network_info import network_lines
        from pyadx.models.sources import ModelSource

        print("\n".join(network_lines(ModelSource(model, weights, card, trust))))
        return
    for name, value in info_rows():
        print(f"{name:13} {value}")
