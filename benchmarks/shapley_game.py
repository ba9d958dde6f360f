"""The input of peers in shapley_peers.py: values of coalitions by full forwards, and a tree."""

import copy
import time

import numpy as np
import torch

_TRIED = (1, 2, 4)  # scans per batch
_LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)


class Game:
    """Values of coalitions of regions, as the user of a peer would write it; counts its evaluations.

    Absent regions are filled; voxels of no region stay as they are. Batch size and memory layout are the
    fastest on this machine.
    """

    def __init__(self, model, volume, target, labels, filled):
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.target, self.players = target, int(labels.max())
        self.scan, self.filled = volume[0], filled.expand_as(volume[0])
        self.layout, self.batch = fastest(model, volume)
        self.model = copy.deepcopy(model).to(memory_format=self.layout)
        self.evaluations = 0

    def __call__(self, present):
        """Take ``[n, K]`` of 0 and 1; return the log-odds of the class, float64 ``[n]``."""
        rows = torch.as_tensor(np.asarray(present).reshape(-1, self.players)).bool()
        rows = torch.cat([torch.ones(len(rows), 1, dtype=torch.bool), rows], 1)
        self.evaluations += len(rows)
        return np.concatenate([self._values(part) for part in rows.split(self.batch)])

    @torch.inference_mode()
    def _values(self, rows):
        scans = torch.where(rows[:, self.labels][:, None], self.scan, self.filled)
        logits = self.model(scans.contiguous(memory_format=self.layout)).double()
        own = torch.log_softmax(logits, 1)[:, self.target]
        return (own - torch.log(-torch.expm1(own))).numpy()


@torch.inference_mode()
def fastest(model, volume):
    """Return the memory layout and batch size with the fastest forward per scan, of three runs each."""
    found = {}
    for layout in _LAYOUTS:
        network = copy.deepcopy(model).to(memory_format=layout)
        for batch in _TRIED:
            scans = volume.repeat(batch, 1, 1, 1, 1).contiguous(memory_format=layout)
            spent = []
            for _ in range(3):
                started = time.process_time()
                network(scans)
                spent.append(time.process_time() - started)
            found[layout, batch] = min(spent) / batch
    return min(found, key=found.get)


def blocks(players, splits):
    """Return the tree's nodes from the leaves up, ``[K - 1, 4]``: left, right, first and end.

    ``first`` and ``end`` are the first player of a node and one past its last. Players are numbered from 0,
    and nodes from K on.
    """
    number = {(player, player + 1): player for player in range(players)}
    rows = []
    for low, middle, high in splits[::-1]:  # blocks come before their parts
        rows.append((number[low, middle], number[middle, high], low, high))
        number[low, high] = players + len(rows) - 1
    return np.array(rows)


def linkage(players, splits):
    """Return the tree as a SciPy linkage matrix."""
    left, right, low, high = blocks(players, splits).T
    return np.stack([left, right, np.arange(1, players), high - low], 1).astype(float)


def partition_tree(players, splits):
    """Return the tree in the form of shap-bpt, for an image of one row with a pixel per region."""
    from shap_bpt import BPT

    left, right, low, high = blocks(players, splits).T
    tree = BPT()
    tree.height, tree.width, tree.U, tree.N = 1, players, players, 2 * players - 1
    tree.pixels = tree.leaf_idx = np.arange(players)
    tree.cl_start, tree.cl_end, tree.cl_left, tree.cl_right = low, high, left, right
    return tree


def evaluations_of_all(players, splits):
    """Return how many coalitions the exact recursion over the tree evaluates: two per node and context."""
    contexts, total = {(0, players): 1}, 2
    for low, middle, high in splits:
        own = contexts[low, high]
        total += 2 * own
        contexts[low, middle] = contexts[middle, high] = 2 * own
    return total
