"""Batches that always hold every class."""

import numpy as np
import torch
from torch import Tensor

from pyadx.training.protocols import Protocol


def balanced_batches(labels: np.ndarray, batch_size: int, random: np.random.Generator) -> list[np.ndarray]:
    """Deal the scans of one epoch into batches that each hold every class.

    Every class is shuffled and spread evenly over the batches, in random order of batches. A class with
    fewer scans than there are batches gives some of them twice.

    Parameters
    ----------
    labels : numpy.ndarray
        Class of every scan, int ``[N]``.
    batch_size : int
        Largest batch; batches differ in size by as little as the classes allow.
    random : numpy.random.Generator
        Source of the order.

    Returns
    -------
    list of numpy.ndarray
        Indices into ``labels``; every scan stands in one batch at least.

    Raises
    ------
    ValueError
        If there is only one class, or more classes than places in a batch.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError("batches need scans of two classes at least; there is one class only")
    if len(classes) > batch_size:
        raise ValueError(f"a batch of {batch_size} cannot hold {len(classes)} classes")
    count = -(-len(labels) // batch_size)
    while True:
        batches: list[list[int]] = [[] for _ in range(count)]
        # The rarest class first, so that the extra places it leaves are filled by the others.
        for name in sorted(classes, key=lambda c: (int((labels == c).sum()), int(c))):
            members = random.permutation(np.flatnonzero(labels == name))
            if len(members) < count:
                again = random.permutation(members)
                members = np.concatenate([members, np.resize(again, count - len(members))])
            order = sorted(range(count), key=lambda b: (len(batches[b]), random.random()))
            for place, index in enumerate(members):
                batches[order[place % count]].append(int(index))
        if max(map(len, batches)) <= batch_size:
            break
        count += 1  # repeated scans of a rare class take places: a batch more
    return [random.permutation(batches[b]) for b in random.permutation(count)]


def augmented(volumes: Tensor, protocol: Protocol, random: np.random.Generator) -> Tensor:
    """Mirror and shift scans ``[B, 1, D, H, W]`` as the protocol says; zeros move in from the border."""
    if not protocol.flip and protocol.shift == 0:
        return volumes
    out = torch.zeros_like(volumes)
    for one, scan in zip(out, volumes, strict=True):
        if protocol.flip and random.random() < 0.5:
            scan = scan.flip(1)
        into, taken = [slice(None)], [slice(None)]
        for step in random.integers(-protocol.shift, protocol.shift + 1, 3).tolist():
            into.append(slice(max(0, step), min(0, step) or None))
            taken.append(slice(max(0, -step), min(0, -step) or None))
        one[tuple(into)] = scan[tuple(taken)]
    return out
