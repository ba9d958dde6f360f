"""``pyadx phantom``, and commands that write network files: ``convert``, ``pack`` and ``strip``."""

from pathlib import Path
from typing import Annotated

import typer

from pyadx.cli.common import Card, Quiet, Trust, Weights, app, continued

Statistics = Annotated[
    Path | None,
    typer.Option(
        help="Cohort like the training scans: its statistics are stored, and other scans get a warning.",
        metavar="COHORT",
    ),
]


@app.command()
def phantom(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the BIDS data set.")],
    subjects: Annotated[int, typer.Option(help="Subjects; 47 of 103 have AD, as in the paper.")] = 103,
    seed: Annotated[int, typer.Option(help="Seed; the same one gives the same bytes.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic cohort from the MNI152 brain with a planted disease, whose true place is known."""
    from pyadx.commands.cohorts.phantom import run_phantom

    groups = continued(run_phantom)(out, subjects, seed, jobs, not quiet)
    if not quiet:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(groups.items()))
        print(f"SYNTHETIC cohort of {counts}: {out}")


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(help="Lasagne checkpoint (arr_0 .. arr_N), or one of pyadx.", metavar="CKPT"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint to write: .safetensors.")],
    arch: Annotated[
        str | None, typer.Option(help="For an .npz: vggnet, resnet, resnet-gap or resnet-shallow-gap.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="For an .npz: names of the outputs in order; default NC,AD.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="For an .npz: grid in voxels, 110 or 110,120,110; default 110.")
    ] = None,
    spacing: Annotated[
        float | None, typer.Option(help="For an .npz: voxel size of the grid in mm; default 2.")
    ] = None,
    flip_filters: Annotated[
        bool,
        typer.Option("--flip-filters", help="The convolutions were true ones, not cross-correlations."),
    ] = False,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="Image that regions can be filled with, such as a mean of controls: FILE for the "
            "first class, or CLASS=FILE. May be given several times.",
            metavar="[CLASS=]FILE",
        ),
    ] = None,
    statistics: Statistics = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the checkpoint.")] = False,
    quiet: Quiet = False,
) -> None:
    """Convert a checkpoint of the paper's authors (.npz), or add references and statistics to one."""
    from pyadx import models
    from pyadx.commands.training.convert import Published, run_convert

    published = Published(arch, classes, shape, spacing, flip_filters or None)
    card = run_convert(source, out, published, reference or (), overwrite, statistics, not quiet)
    shown = f", references {', '.join(card.references)}" if reference else ""
    if statistics is not None:
        shown += f", statistics of {card.statistics['scans']} scans"
    print(f"{card.architecture}, weights {models.fingerprint(models.load(out))[:16]}{shown}: {out}")


@app.command()
def strip(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the network.", metavar="CKPT")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint to write: .safetensors.")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Also remove salted hashes: leakage can't be checked then.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the checkpoint.")] = False,
) -> None:
    """Remove ids and plain hashes of the training scans from a checkpoint; weights stay as they are."""
    import json

    from pyadx.commands.training.strip import run_strip

    provenance = run_strip(checkpoint, out, remove, overwrite).provenance
    scans = provenance.get("training_scans", ())
    print(f"{out}: salted hashes of {len(scans)} training scans, no ids; the rest of its card:")
    for name, value in provenance.items():
        if name not in ("training_scans", "training_salt"):
            print(f"  {name}: {json.dumps(value, ensure_ascii=False)}")


@app.command()
def pack(
    model: Annotated[str, typer.Argument(help="Network, as --model of pyadx explain.", metavar="NETWORK")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Packed network to write: .pt2.")],
    weights: Weights = None,
    card: Card = None,
    trust: Trust = False,
    statistics: Statistics = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Put a network, its weights and its card into one file that runs without the network's code."""
    from pyadx.commands.training.pack import run_pack
    from pyadx.models.sources import ModelSource

    packed = run_pack(ModelSource(model, weights, card, trust), out, overwrite, statistics, not quiet)
    if not quiet:
        own = packed.card
        grid = "x".join(map(str, own.in_shape))
        print(
            f"{own.architecture}, {own.channels}x{grid}, {', '.join(own.class_names)}, "
            f"outputs within {packed.difference:.1e} of the network's: {out}"
        )
