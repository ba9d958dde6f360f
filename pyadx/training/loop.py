"""The training loop: one network, one protocol, one split; it can be resumed after every epoch."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.data.inputs import PreparedScans
from pyadx.inference.outputs import check_outputs
from pyadx.inference.score import probabilities
from pyadx.short_reprs import short_repr
from pyadx.training.batches import augmented, balanced_batches
from pyadx.training.metrics import classification_metrics
from pyadx.training.protocols import Protocol
from pyadx.training.state import FinishedEpochs, load_state, save_state

_EVALUATION_BATCH = 2


@dataclass(frozen=True)
class Epoch:
    """Results of one epoch.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    loss : float
        Mean cross-entropy over the training scans. Each one is taken when its batch is trained on, so it is
        of augmented scans and of weights that still change.
    auc, accuracy : float
        Metrics of the test scans after the epoch; NaN if there are none.
    seconds : float
        Duration of the training, without the test.
    busy : float
        Share of these seconds in the network and the optimizer; the rest went into preparing batches.
    """

    epoch: int
    loss: float
    auc: float
    accuracy: float
    seconds: float
    busy: float


@dataclass(frozen=True, eq=False)
class Trained:
    """Result of a finished training.

    Attributes
    ----------
    epochs : list of Epoch
        All epochs, with those of an earlier, interrupted call.
    probabilities : numpy.ndarray
        float64 ``[tests, classes]``: class probabilities of the test scans after the last epoch.
    """

    epochs: list[Epoch]
    probabilities: np.ndarray

    __repr__ = short_repr


def train(
    model: nn.Module,
    scans: PreparedScans,
    train_on: np.ndarray,
    test_on: np.ndarray,
    protocol: Protocol,
    *,
    fabric: Any,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    facts: dict[str, Any] | None = None,
    on_batch: Callable[[int], None] = lambda scans: None,
    on_epoch: Callable[[list[Epoch]], None] = lambda epochs: None,
) -> Trained:
    """Train a network in place.

    Parameters
    ----------
    model : torch.nn.Module
        Network on the CPU. Afterwards it is in training mode on the fabric's device.
    scans : PreparedScans
        Inputs and classes.
    train_on, test_on : numpy.ndarray
        Indices of the scans to train on and to test on, without a common one. There may be no test scan.
    protocol : Protocol
        Optimizer, batches, epochs, augmentation.
    fabric : lightning_fabric.Fabric
        Launched fabric, which determines device, precision and processes.
    seed : int
        Seed of the order of batches, of dropout and of augmentation.
    folder : path, optional
        Folder for the state, which is saved after every epoch. If it already has a state, training is
        resumed. On the CPU the result has the same bits as without the interruption.
    facts : dict, optional
        Description of this training. A state is refused unless it has the same facts, seed and protocol.
    on_batch : callable
        Called after each batch with its number of scans.
    on_epoch : callable
        Called after each epoch with all epochs so far.

    Returns
    -------
    Trained
        History, and the probabilities of the test scans.

    Raises
    ------
    ValueError
        If a scan is both trained and tested on, the training scans have fewer than two classes, batches are
        too small for the number of classes or processes, the loss is no longer finite, or the state in
        ``folder`` is damaged or is one of another training.
    """
    _check(scans, train_on, test_on, protocol, fabric.world_size)
    if fabric.device.type == "cpu":
        model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    elif fabric.world_size > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimizer = protocol.make_optimizer(model.parameters())
    wrapped, optimizer = fabric.setup(model, optimizer)
    belongs = {"seed": seed, "protocol": asdict(protocol), **(facts or {})}
    torch.manual_seed(int(np.random.SeedSequence([seed, 4, fabric.global_rank]).generate_state(1)[0]))
    progress = FinishedEpochs([])
    folder = None if folder is None else Path(folder)
    if folder is not None:
        progress = load_state(folder, model, optimizer, belongs) or progress
    epochs = [Epoch(**row) for row in progress.rows]
    found: np.ndarray | None = None
    for number in range(len(epochs) + 1, protocol.epochs + 1):
        started = time.perf_counter()
        random = np.random.default_rng([seed, 3, number])
        batches = balanced_batches(scans.labels[train_on], protocol.batch_size, random)
        loss, busy = _one_epoch(
            wrapped, optimizer, scans, train_on, batches, protocol, random, fabric, on_batch
        )
        seconds = time.perf_counter() - started
        metrics = {"auc": float("nan"), "accuracy": float("nan")}
        if len(test_on):
            found = predict(model, scans, test_on, fabric)
            metrics = classification_metrics(scans.labels[test_on], found)
        epochs.append(Epoch(number, loss, **metrics, seconds=seconds, busy=busy / seconds))
        if folder is not None and fabric.is_global_zero:
            save_state(folder, model, optimizer, belongs, FinishedEpochs([asdict(e) for e in epochs]))
        fabric.barrier()
        on_epoch(list(epochs))
    if found is None:  # there is nobody to test, or the state had all epochs already
        found = predict(model, scans, test_on, fabric)
    return Trained(epochs, found)


def predict(model: nn.Module, scans: PreparedScans, which: np.ndarray, fabric: Any) -> np.ndarray:
    """Return class probabilities of some scans; the model is in its earlier mode afterwards.

    Parameters
    ----------
    model : torch.nn.Module
        Network on the fabric's device.
    scans : PreparedScans
        Inputs.
    which : numpy.ndarray
        Indices of the scans.
    fabric : lightning_fabric.Fabric
        Launched fabric, for device and precision.

    Returns
    -------
    numpy.ndarray
        float64 ``[len(which), classes]``; ``[0, 0]`` without scans.
    """
    training = model.training
    model.eval()
    parts = [np.zeros((0, 0))] if len(which) == 0 else []
    with torch.no_grad(), fabric.autocast():
        for start in range(0, len(which), _EVALUATION_BATCH):
            index = which[start : start + _EVALUATION_BATCH]
            outputs = check_outputs(model(_inputs(scans, index).to(fabric.device)), len(index))
            parts.append(probabilities(outputs.double()).cpu().numpy())
    model.train(training)
    return np.concatenate(parts)


def _one_epoch(
    model: Any,
    optimizer: Any,
    scans: PreparedScans,
    train_on: np.ndarray,
    batches: Sequence[np.ndarray],
    protocol: Protocol,
    random: np.random.Generator,
    fabric: Any,
    on_batch: Callable[[int], None],
) -> tuple[float, float]:
    """Return the mean loss, and the seconds spent in the network and the optimizer."""
    model.train()
    total = torch.zeros((), dtype=torch.float64, device=fabric.device)
    seen, busy = 0, 0.0
    for batch in batches:
        index = train_on[batch]
        volumes = augmented(_inputs(scans, index), protocol, random)
        own = slice(fabric.global_rank, None, fabric.world_size)
        x = volumes[own].to(fabric.device)
        y = torch.from_numpy(scans.labels[index][own]).to(fabric.device)
        started = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y, reduction="sum") / len(index)
        # The loss of a process is its share of the batch's mean, and its gradients are divided by the
        # number of processes when they are averaged.
        fabric.backward(loss * fabric.world_size)
        optimizer.step()
        total += fabric.all_reduce(loss.detach().double(), reduce_op="sum") * len(index)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        busy += time.perf_counter() - started
        seen += len(index)
        on_batch(len(index))
    mean = float(total) / seen
    if not np.isfinite(mean):
        raise ValueError(
            "the loss is no longer finite: the learning rate is too high, or a scan holds extreme values"
        )
    return mean, busy


def _inputs(scans: PreparedScans, index: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(scans.volumes[index]))[:, None]


def _check(
    scans: PreparedScans, train_on: np.ndarray, test_on: np.ndarray, protocol: Protocol, processes: int
) -> None:
    both = np.intersect1d(train_on, test_on)
    if len(both):
        raise ValueError(f"subject {scans.scans[both[0]].subject} is in the training and in the test set")
    if len(np.unique(scans.labels[train_on])) < 2:
        raise ValueError("training needs scans of at least two classes")
    if processes > 1 and protocol.batch_size < 2 * processes:
        raise ValueError(
            f"batches of {protocol.batch_size} are too small for {processes} processes: batch norm needs "
            "two scans per process; use fewer devices or a larger batch_size"
        )
