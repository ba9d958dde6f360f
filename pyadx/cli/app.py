"""The ``pyadx`` command: its group, and options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Visual explanations of 3D CNNs on brain MRI. Research software, not a medical device.",
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no messages.")]

CohortPath = Annotated[
    Path, typer.Argument(help="BIDS folder, ADNI table or its folder, or a table.", metavar="COHORT")
]
Target = Annotated[str, typer.Option(help="Class to explain.")]
Window = Annotated[int, typer.Option(help="Occlusion: window in voxels.")]
Stride = Annotated[int, typer.Option(help="Occlusion: stride in voxels.")]
Align = Annotated[str, typer.Option(help="CAM, Grad-CAM: stretch or receptive_field.")]


def options_of_methods(window: int, stride: int, align: str) -> dict[str, dict[str, Any]]:
    """Return which of these options each method takes, where a command runs several methods."""
    return {
        "occlusion": {"window": window, "stride": stride},
        "cam": {"align": align},
        "gradcam": {"align": align},
    }
