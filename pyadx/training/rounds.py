"""One round of a cross-validation: a network is trained on a part of the scans and tested on the rest."""

import csv
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyadx import models
from pyadx.data.class_means import class_means
from pyadx.data.cohort.splits import Round
from pyadx.data.inputs import PreparedScans
from pyadx.data.network_scans import network_statistics
from pyadx.extras import needed_for
from pyadx.files import replacing
from pyadx.models.card import ModelCard
from pyadx.models.training_scans import training_record
from pyadx.training.loop import Epoch, train
from pyadx.training.protocols import Protocol


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training, except for the scans.

    Attributes
    ----------
    card : ModelCard
        Architecture, grid, classes, preprocessing.
    protocol : Protocol
        Optimizer, batches, epochs, augmentation.
    seed : int
        Seed of the weights, of the order of batches, of dropout, of augmentation and of shuffled labels.
    shuffle_labels : bool
        Shuffle the training labels: a control in which nothing can be learned.
    keep_ids : bool
        Write ids and plain hashes of the training scans into checkpoints, and not salted hashes.
    """

    card: ModelCard
    protocol: Protocol
    seed: int = 0
    shuffle_labels: bool = False
    keep_ids: bool = False


@dataclass(frozen=True)
class Hardware:
    """What to train on; the values are those of `lightning_fabric.Fabric`.

    Attributes
    ----------
    accelerator : str
        Such as ``auto``, ``cpu`` or ``cuda``.
    devices : int
        Number of devices, each with a process of its own.
    precision : str
        Such as ``32-true``, ``16-mixed`` or ``bf16-mixed``.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"

    def check(self, tensorboard: bool = False) -> None:
        """Raise ``ValueError`` if `fabric` would, or TensorBoard is needed and missing; launch nothing."""
        if tensorboard:
            _tensorboard_logger()
        self._fabric(())

    def fabric(self, loggers: Any = ()) -> Any:
        """Return a launched `lightning_fabric.Fabric`, with loggers of Lightning if they are given.

        Raises
        ------
        ValueError
            If Lightning Fabric is not installed, or the hardware is not available.
        """
        fabric = self._fabric(loggers)
        fabric.launch()
        return fabric

    def _fabric(self, loggers: Any) -> Any:
        with needed_for("training"):
            from lightning_fabric import Fabric
        strategy = "ddp" if self.devices > 1 else "auto"
        try:
            return Fabric(
                accelerator=self.accelerator,
                devices=self.devices,
                precision=self.precision,  # type: ignore[arg-type]
                strategy=strategy,
                loggers=list(loggers),
            )
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"cannot train on {self.devices} x {self.accelerator}: {error}") from None


def result_file(folder: Path) -> Path:
    """Return the file with the result of a finished round."""
    return folder / "result.json"


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of a finished round, or ``None`` if it is not finished."""
    try:
        return json.loads(result_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def run_round(
    folder: str | os.PathLike[str],
    one: Round,
    scans: PreparedScans,
    recipe: Recipe,
    hardware: Hardware,
    *,
    keep_model: bool = True,
    tensorboard: bool = False,
    on_batch: Callable[[int], None] = lambda scans: None,
    on_epoch: Callable[[list[Epoch]], None] = lambda epochs: None,
) -> dict[str, Any]:
    """Train and test a network; resume after the last finished epoch if an earlier call was interrupted.

    Parameters
    ----------
    folder : path
        Folder for ``log.csv``, ``result.json``, ``model.safetensors`` if the model is kept, and ``last.pt``
        until the round is finished.
    one : Round
        Subjects to train on and to test on.
    scans : PreparedScans
        Scans of all subjects of the round; there may be more.
    recipe, hardware : Recipe, Hardware
        What to train, and on what.
    keep_model : bool
        Write the checkpoint. It contains salted hashes of its training scans (or ids; see `Recipe`), their
        statistics, and the mean image of each class; a warning names classes without one, such as those
        with fewer than eight scans. The images are of the true classes, even if the training labels were
        shuffled.
    tensorboard : bool
        Also log for TensorBoard.
    on_batch, on_epoch : callable
        See `pyadx.training.loop.train`.

    Returns
    -------
    dict
        Plain data: ``round``, ``auc``, ``accuracy``, ``loss``, ``epochs``, ``seconds``,
        ``shuffled_labels``, ``class_names``; and ``test``, a list of ``subject``, ``label`` and
        ``probabilities`` of each test scan.

    Raises
    ------
    ValueError
        As `pyadx.training.loop.train` and `Hardware.fabric`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fabric = hardware.fabric(_loggers(folder) if tensorboard else ())
    card = recipe.card
    model = models.build(
        card.architecture, card.in_shape, card.class_names, card.preprocessing, recipe.seed
    )
    train_on, test_on = scans.indices(one.train), scans.indices(one.test)
    diagnosed = scans
    if recipe.shuffle_labels:
        scans = _with_shuffled_labels(scans, train_on, recipe.seed)

    def note(epochs: list[Epoch]) -> None:
        if fabric.is_global_zero:
            _write_log(folder / "log.csv", epochs)
        if tensorboard:
            last = asdict(epochs[-1])
            fabric.log_dict({k: v for k, v in last.items() if k != "epoch"}, step=last["epoch"])
        on_epoch(epochs)

    trained = train(
        model,
        scans,
        train_on,
        test_on,
        recipe.protocol,
        fabric=fabric,
        seed=recipe.seed,
        folder=folder,
        facts={
            "architecture": card.architecture,
            "grid": list(card.in_shape),
            "scans": [scans.hashes[i][:16] for i in train_on],
            "shuffled": recipe.shuffle_labels,
        },
        on_batch=on_batch,
        on_epoch=note,
    )
    last = trained.epochs[-1]
    result = {
        "round": one.name,
        "auc": last.auc,
        "accuracy": last.accuracy,
        "loss": last.loss,
        "epochs": last.epoch,
        "seconds": round(sum(e.seconds for e in trained.epochs), 2),
        "shuffled_labels": recipe.shuffle_labels,
        "class_names": list(card.class_names),
        "test": [
            {
                "subject": scans.scans[i].subject,
                "label": card.class_names[int(scans.labels[i])],
                "probabilities": p.tolist(),
            }
            for i, p in zip(test_on, trained.probabilities, strict=True)
        ],
    }
    if fabric.is_global_zero:
        if keep_model:
            _save_model(folder / "model.safetensors", model, diagnosed, train_on, recipe, one, last)
        with replacing(result_file(folder)) as (partial,):
            partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (folder / "last.pt").unlink(missing_ok=True)
    fabric.barrier()
    return result


def _save_model(
    path: Path,
    model: Any,
    scans: PreparedScans,
    train_on: np.ndarray,
    recipe: Recipe,
    one: Round,
    last: Epoch,
) -> None:
    used = [scans.scans[i] for i in train_on]
    seen = training_record(
        [scan.subject for scan in used],
        [scan.scan_id for scan in used],
        [scans.hashes[i] for i in train_on],
        keep_ids=recipe.keep_ids,
    )
    provenance = {
        "protocol": asdict(recipe.protocol),
        "seed": recipe.seed,
        "shuffled_labels": recipe.shuffle_labels,
        "round": one.name,
        "epochs": last.epoch,
        "test": {"auc": last.auc, "accuracy": last.accuracy, "scans": len(one.test)},
        **seen,
    }
    model.to("cpu")
    give_references(model, scans, train_on, recipe.card)
    models.save(model, path, trained=True, provenance=provenance)


def give_references(model: Any, scans: PreparedScans, train_on: np.ndarray, card: ModelCard) -> None:
    """Give a network the mean image of each class of its training scans, and the scans' statistics.

    Parameters
    ----------
    model : torch.nn.Module
        Network with a card; its ``references`` and its card change.
    scans : PreparedScans
        Volumes and true classes.
    train_on : numpy.ndarray
        Indices of the training scans.
    card : ModelCard
        Classes and preprocessing.

    Warns
    -----
    UserWarning
        For each class without a mean image.
    """
    means = class_means(scans.volumes, scans.labels, train_on, card)
    images = {name: torch.from_numpy(image) for name, image in means.images.items()}
    models.with_references(model, images, means.facts)
    statistics = network_statistics((scans.volumes[i] for i in train_on), model)
    model.card = replace(model.card, statistics=statistics)
    for name, facts in means.facts.items():
        if "refused" in facts:
            warnings.warn(
                f"the checkpoint has no mean image of {name}: {facts['refused']}; "
                f"pyadx convert --reference {name}=FILE adds one from a file",
                UserWarning,
                stacklevel=4,
            )


def _with_shuffled_labels(scans: PreparedScans, train_on: np.ndarray, seed: int) -> PreparedScans:
    labels = scans.labels.copy()
    labels[train_on] = np.random.default_rng([seed, 5]).permutation(labels[train_on])
    return PreparedScans(scans.volumes, scans.scans, labels, scans.hashes, scans.unreadable)


def _write_log(path: Path, epochs: list[Epoch]) -> None:
    with replacing(path) as (partial,), partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(epochs[0])))
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)


def _loggers(folder: Path) -> list[Any]:
    return [_tensorboard_logger()(os.fspath(folder), name="tensorboard", version="")]


def _tensorboard_logger() -> Any:
    with needed_for("--tensorboard"):
        import tensorboard  # noqa: F401
        from lightning_fabric.loggers import TensorBoardLogger
    return TensorBoardLogger
