"""The ``pyadx`` command: its group, and options that several commands have."""

from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Visual explanations of 3D CNNs on brain MRI. Research software, not a medical device.",
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no messages.")]
