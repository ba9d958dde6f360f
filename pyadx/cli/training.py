"""``pyadx train`` and ``pyadx crossval``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pyadx.cli.common import (
    CohortPath,
    Derivative,
    Device,
    GroupColumn,
    Images,
    Quiet,
    Space,
    app,
    by_resume,
    continued,
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the run.")]
Model = Annotated[str, typer.Option(help="vggnet, resnet, resnet-gap or resnet-shallow-gap.")]
Classes = Annotated[str, typer.Option(help="Classes in the order of the outputs.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Leave unreadable scans out.")]
SetAside = Annotated[
    str | None, typer.Option(help="Subjects never trained or tested on; default AD=5,NC=3; or none.")
]
SplitFile = Annotated[Path | None, typer.Option("--split", help="Splits of your own (JSON), verified.")]
Splits = Annotated[int, typer.Option(help="Shuffles of the folds.")]
Folds = Annotated[int, typer.Option(help="Folds, stratified, of subjects.")]
Seed = Annotated[int, typer.Option(help="Seed of splits, weights, order and dropout.")]
ProtocolFile = Annotated[
    Path | None,
    typer.Option("--protocol", help="TOML file; default: the paper's protocol."),
]
Epochs = Annotated[int | None, typer.Option(help="Epochs, instead of the protocol's.")]
BatchSize = Annotated[int | None, typer.Option(help="Batch size, instead of the protocol's.")]
LearningRate = Annotated[float | None, typer.Option(help="Learning rate, instead of the protocol's.")]
Flip = Annotated[bool, typer.Option("--flip", help="Augmentation: mirror left and right.")]
Shift = Annotated[int | None, typer.Option(help="Augmentation: shift by up to this many voxels.")]
Shape = Annotated[str, typer.Option(help="Grid in voxels: 110 or 110,120,110.")]
Spacing = Annotated[float, typer.Option(help="Voxel size of the grid in mm; 0 keeps the scans' own.")]
Intensity = Annotated[str, typer.Option(help="max, zscore or none.")]
ShuffleLabels = Annotated[
    bool, typer.Option("--shuffle-labels", help="Control: shuffle the classes; AUC must be near 0.5.")
]
Devices = Annotated[int, typer.Option(help="GPUs (or CPU processes) that share every batch.")]
Precision = Annotated[str, typer.Option(help="32-true, 16-mixed or bf16-mixed.")]
KeepIds = Annotated[
    bool,
    typer.Option("--keep-ids", help="Store ids of training scans in checkpoints, beside salted hashes."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start the run in the folder again.")]


def _way(request: Any) -> Callable[[], str]:
    from pyadx.commands.training.setup import is_begun

    return by_resume(lambda: is_begun(request.out), request.resume, request.overwrite)


def _request(cohort: Path, out: Path, *, quiet: bool, spacing: float, **options: Any) -> Any:
    from pyadx.commands.training.setup import TrainingRequest

    changes = {name: options.pop(name) for name in ("epochs", "batch_size", "learning_rate", "shift")}
    flip = options.pop("flip")
    given = {name: value for name, value in {**changes, "flip": flip or None}.items() if value is not None}
    return TrainingRequest(
        cohort, out, spacing=spacing or None, protocol_changes=given, progress=not quiet, **options
    )


@app.command()
def train(
    cohort: CohortPath,
    out: Out,
    model: Model = "vggnet",
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Train on all subjects that are not set aside; test on none."),
    ] = False,
    round_name: Annotated[
        str | None, typer.Option("--round", help="Round of the splits; default: the first.")
    ] = None,
    classes: Classes = "NC,AD",
    images: Images = None,
    group_column: GroupColumn = None,
    derivative: Derivative = None,
    space: Space = None,
    skip_unreadable: SkipUnreadable = False,
    set_aside: SetAside = None,
    split: SplitFile = None,
    folds: Folds = 5,
    seed: Seed = 0,
    protocol: ProtocolFile = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    flip: Flip = False,
    shift: Shift = None,
    shape: Shape = "110",
    spacing: Spacing = 2.0,
    intensity: Intensity = "max",
    shuffle_labels: ShuffleLabels = False,
    device: Device = "auto",
    devices: Devices = 1,
    precision: Precision = "32-true",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")] = False,
    keep_ids: KeepIds = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on a cohort with the paper's protocol, and test it on the subjects left out."""
    from pyadx.commands.training.setup import is_first_process
    from pyadx.commands.training.train import checkpoint_file, run_train

    request = _request(
        cohort, out, architecture=model, classes=classes, images=images, group_column=group_column,
        derivative=derivative, space=space, skip_unreadable=skip_unreadable, set_aside=set_aside,
        split_file=split, splits=1, folds=folds, seed=seed, protocol=protocol, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, flip=flip, shift=shift, shape=shape,
        spacing=spacing, intensity=intensity, shuffle_labels=shuffle_labels, device=device, devices=devices,
        precision=precision, tensorboard=tensorboard, keep_ids=keep_ids, resume=resume,
        overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
    result = continued(run_train, _way(request))(request, whole, round_name)
    if not quiet and is_first_process():
        tested = f", AUC {result['auc']:.3f}, accuracy {result['accuracy']:.3f}" if result["test"] else ""
        print(
            f"{model}, {result['epochs']} epochs in {result['seconds']:.0f} s: training loss "
            f"{result['loss']:.4f}{tested} of {len(result['test'])} subjects left out"
        )
        print(f"checkpoint: {checkpoint_file(out)}")


@app.command()
def crossval(
    cohort: CohortPath,
    out: Out,
    model: Model = "vggnet",
    splits: Splits = 5,
    folds: Folds = 5,
    parallel: Annotated[str, typer.Option(help="none, or ray: rounds in parallel.")] = "none",
    ray_address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster; default: this machine.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Ray: rounds at a time on this machine.")] = None,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep a checkpoint per round.")
    ] = False,
    classes: Classes = "NC,AD",
    images: Images = None,
    group_column: GroupColumn = None,
    derivative: Derivative = None,
    space: Space = None,
    skip_unreadable: SkipUnreadable = False,
    set_aside: SetAside = None,
    split: SplitFile = None,
    seed: Seed = 0,
    protocol: ProtocolFile = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    flip: Flip = False,
    shift: Shift = None,
    shape: Shape = "110",
    spacing: Spacing = 2.0,
    intensity: Intensity = "max",
    shuffle_labels: ShuffleLabels = False,
    device: Device = "auto",
    precision: Precision = "32-true",
    keep_ids: KeepIds = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Cross-validate a network on a cohort: 5 x 5 rounds as in the paper, tables and a ROC plot."""
    from pyadx.commands.training.crossval import run_crossval

    request = _request(
        cohort, out, architecture=model, classes=classes, images=images, group_column=group_column,
        derivative=derivative, space=space, skip_unreadable=skip_unreadable, set_aside=set_aside,
        split_file=split, splits=splits, folds=folds, seed=seed, protocol=protocol, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, flip=flip, shift=shift, shape=shape,
        spacing=spacing, intensity=intensity, shuffle_labels=shuffle_labels, device=device,
        precision=precision, keep_ids=keep_ids, resume=resume, overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
    result = continued(run_crossval, _way(request))(request, parallel, ray_address, workers, keep_models)
    if not quiet:
        print(result.title)
        for one in result.rounds:
            print(f"  {one['round']}: AUC {one['auc']:.3f}, accuracy {one['accuracy']:.3f}")
        print(f"{result.summary}")
        print(f"tables and ROC plot: {out}")
