"""Batches that contain every class, and augmentation."""

import numpy as np
import torch
from torch import Tensor

from pyadx.training.protocols import Protocol


def balanced_batches(labels: np.ndarray, batch_size: int, random: np.random.Generator) -> list[np.ndarray]:
    """Distribute the scans of one epoch over batches that each contain every class.

    Each class is shuffled and spread evenly over the batches, in random order. If a class has fewer scans
    than there are batches, some of its scans are used more than once.

    Parameters
    ----------
    labels : numpy.ndarray
        Class of every scan, int ``[N]``.
    batch_size : int
        Size of the largest batch. Sizes differ as little as the classes allow.
    random : numpy.random.Generator
        Source of the order.

    Returns
    -------
    list of numpy.ndarray
        Indices into ``labels``; every scan is in at least one batch.

    Raises
    ------
    ValueError
        If there is only one class, or there are more classes than ``batch_size``.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError("batches need scans of at least two classes; there is one class only")
    if len(classes) > batch_size:
        raise ValueError(
            f"a batch of {batch_size} cannot hold {len(classes)} classes; use a larger batch_size"
        )
    count = -(-len(labels) // batch_size)
    while True:
        batches: list[list[int]] = [[] for _ in range(count)]
        # The rarest class comes first; the others then even out the sizes of the batches.
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
        count += 1  # repeated scans of a rare class need more room
    return [random.permutation(batches[b]) for b in random.permutation(count)]


def augmented(volumes: Tensor, protocol: Protocol, random: np.random.Generator) -> Tensor:
    """Mirror and shift scans at random, as the protocol says; a shift fills the border with zeros.

    Parameters
    ----------
    volumes : Tensor
        ``[B, 1, D, H, W]``.
    protocol : Protocol
        Its ``flip`` and ``shift`` are used.
    random : numpy.random.Generator
        Source of the choices; each scan gets its own.

    Returns
    -------
    Tensor
        The same shape; ``volumes`` itself if the protocol has no augmentation.
    """
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
