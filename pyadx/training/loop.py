"""The training loop: one network, one protocol, one split; every epoch can be the last before a crash."""

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
    """What one epoch gave.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean cross-entropy over the training scans, as they were seen.
    auc, accuracy : float
        Of the test scans after the epoch; NaN without test scans.
    seconds : float
        Of training.
    busy : float
        Share of these seconds spent in the network and the optimizer, not in getting batches ready.
    """

    epoch: int
    loss: float
    auc: float
    accuracy: float
    seconds: float
    busy: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training.

    Attributes
    ----------
    epochs : list of Epoch
        All of them.
    probabilities : numpy.ndarray
        float64 ``[tests, classes]`` of the test scans, after the last epoch.
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
        On the CPU; in training mode afterwards, on the fabric's device.
    scans : PreparedScans
        Inputs and classes.
    train_on, test_on : numpy.ndarray
        Indices of the scans to train and to test on, disjoint.
    protocol : Protocol
        Optimizer, batches, epochs, augmentation.
    fabric : lightning_fabric.Fabric
        Launched; decides device, precision and processes.
    seed : int
        Order of batches, dropout and augmentation follow from it.
    folder : path, optional
        Where the state is kept after every epoch. If there is one, training goes on from it, on the CPU to
        the same bits as if it had never stopped.
    facts : dict, optional
        What the state belongs to; a state of something else is refused.
    on_batch, on_epoch : callable
        Told how many scans went through, and after each epoch what all so far gave.

    Returns
    -------
    Trained
        History and the probabilities of the test scans.

    Raises
    ------
    ValueError
        If a scan is on both sides, a class is missing, batches are too small for the processes, or the loss
        is no longer finite.
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
    if found is None:  # nobody to test, or all epochs were done before
        found = predict(model, scans, test_on, fabric)
    return Trained(epochs, found)


def predict(model: nn.Module, scans: PreparedScans, which: np.ndarray, fabric: Any) -> np.ndarray:
    """Return class probabilities, float64 ``[len(which), classes]``; the model keeps its mode."""
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
        # Processes average their gradients; each holds its share of the sum.
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
        raise ValueError(f"subject {scans.scans[both[0]].subject} is both trained and tested on")
    if len(np.unique(scans.labels[train_on])) < 2:
        raise ValueError("training needs scans of two classes at least")
    if processes > 1 and protocol.batch_size < 2 * processes:
        raise ValueError(
            f"batches of {protocol.batch_size} are too small for {processes} processes: batch norm needs "
            "two scans in each; use fewer devices or a larger batch_size"
        )
