"""``pyadx demo`` and ``pyadx info``."""

from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.app import Device, Quiet, app


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
