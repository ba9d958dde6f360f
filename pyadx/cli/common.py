"""The ``pyadx`` command: its group, and options that several commands have."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Visual explanations of 3D CNNs on brain MRI. Research software, not a medical device.",
)


def _version(asked: bool) -> None:
    if asked:
        from pyadx import __version__

        print(f"pyadx {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Define the options of ``pyadx`` itself."""


class Interrupted(Exception):  # noqa: N818 (Ctrl-C is no error)
    """Ctrl-C in a command whose next call continues."""

    exit_code = 130  # the shell's code for a process that Ctrl-C ended

    def format_message(self) -> str:
        """Return the line that is printed."""
        return f"interrupted{self}"


AGAIN = "run the same command again to continue where it stopped"
_ways: list[Callable[[], str]] = []  # how to continue what runs now


def how_to_continue() -> str:
    """Return the end of the line that says that a command was stopped."""
    way = _ways[-1]() if _ways else ""
    return f"; {way}" if way else ""


def by_resume(begun: Callable[[], bool], given: bool, overwrite: bool = False) -> Callable[[], str]:
    """Return how to continue a command with ``--resume``: not at all before it has ``begun``.

    ``given`` says whether the command has ``--resume``; ``overwrite``, whether it has an ``--overwrite``
    that would start again.
    """
    change = "replace --overwrite by --resume" if overwrite else "add --resume"
    words = AGAIN if given and not overwrite else f"{change} to continue where it stopped"
    return lambda: words if begun() else ""


def continued(run: Callable[..., Any], way: Callable[[], str] = lambda: AGAIN) -> Callable[..., Any]:
    """Return a function that ends with `Interrupted` on Ctrl-C; ``way`` says how to continue."""

    @wraps(run)
    def called(*given: Any) -> Any:
        _ways.append(way)
        try:
            return run(*given)
        except KeyboardInterrupt:
            raise Interrupted(how_to_continue()) from None
        finally:
            _ways.pop()

    return called


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no messages.")]
Orientation = Annotated[
    str,
    typer.Option(help="Affine of a NIfTI scan to use: auto (sform before qform), sform or qform."),
]

Slices = Annotated[
    str | None,
    typer.Option(
        help="Where figures are cut: mm of the scan's world (right, anterior, superior), as report pages "
        "show positions; default: where the map is strongest.",
        metavar="X,Y,Z",
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        help="Figures show a map where its absolute value is at least this: a number, or a percentile of "
        "those that are not 0, such as 99%."
    ),
]
FigureMask = Annotated[
    Path | None,
    typer.Option(help="Figures show a map inside this mask only; NIfTI of any grid in the scan's space."),
]

Model = Annotated[
    str,
    typer.Option(
        help="Checkpoint (.safetensors); demo:vggnet, a bundled network; net.py:factory or "
        "package.module:factory, your own code; .pt2; .onnx; a MONAI bundle; or hf://owner/name.",
        metavar="NETWORK",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(help="State dict (.pt, .pth, .ckpt or .safetensors) for a network from code."),
]
Card = Annotated[
    Path | None,
    typer.Option(help="Your network's grid, classes and intensities: a small .toml file."),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let files of networks run code that they hold (SECURITY.md).")
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse scans that are not like those the network was trained on."),
]

CohortPath = Annotated[
    Path, typer.Argument(help="BIDS folder, ADNI table or its folder, or a table.", metavar="COHORT")
]
Images = Annotated[Path | None, typer.Option(help="ADNI: folder of the images; default: the table's.")]
GroupColumn = Annotated[
    str | None, typer.Option(help="Column with the diagnosis; BIDS: of participants.tsv or sessions.tsv.")
]
Derivative = Annotated[str | None, typer.Option(help="BIDS: take scans from derivatives/NAME.")]
Space = Annotated[
    str | None, typer.Option(help="BIDS: space of the scans: native, or such as MNI152NLin2009cAsym:res-2.")
]
Spaces = Annotated[
    list[str] | None,
    typer.Option(
        "--space",
        help="BIDS: space of the scans: native, or such as MNI152NLin2009cAsym:res-2. network: maps are "
        "written on the network's grid. Both may be given.",
    ),
]
Target = Annotated[str, typer.Option(help="Class to explain, of every scan.")]
Method = Annotated[
    str,
    typer.Option(help="NAME[:option=value,...], such as gradcam:layer=conv2b; pyadx methods lists them."),
]


def split_spaces(given: list[str] | None) -> tuple[str | None, bool]:
    """Return the space of the scans, and whether maps are written on the network's grid.

    Raises
    ------
    ValueError
        If scans are asked for in two spaces.
    """
    scans = [space for space in given or () if space != "network"]
    if len(scans) > 1:
        raise ValueError(f"--space takes one space of scans, and network; got {', '.join(scans)}")
    return (scans[0] if scans else None), len(scans) < len(given or ())
