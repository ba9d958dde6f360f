"""Peers of shapley_peers.py: each takes a `Task` and returns the values of all players, float64 ``[K]``."""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from shapley_game import Game, linkage, partition_tree


@dataclass(frozen=True, eq=False)
class Task:
    """A game, its tree, the number of evaluations allowed, and a seed."""

    game: Game
    splits: tuple
    evaluations: int
    seed: int

    @property
    def players(self):
        return self.game.players


def shap_permutation(task):
    return _permutation(task, _masker(task, None))


def shap_permutation_of_the_tree(task):
    return _permutation(task, _masker(task, linkage(task.players, task.splits)))


def shap_partition(task):
    import shap

    masker = _masker(task, linkage(task.players, task.splits))
    explain = shap.PartitionExplainer(task.game, masker)
    return explain(np.ones((1, task.players)), max_evals=task.evaluations, silent=True).values[0]


def shap_kernel(task):
    import shap

    np.random.seed(task.seed)
    explain = shap.KernelExplainer(task.game, np.zeros((1, task.players)))
    # l1_reg=0: its default keeps ten players only.
    return explain.shap_values(
        np.ones((1, task.players)), nsamples=task.evaluations, l1_reg=0, silent=True
    )[0]


def captum_sampling(task):
    from captum.attr import ShapleyValueSampling

    orders = max(1, task.evaluations // task.players)
    return _captum(task, ShapleyValueSampling, n_samples=orders)


def captum_kernel(task):
    from captum.attr import KernelShap

    return _captum(task, KernelShap, n_samples=task.evaluations)


def shap_bpt(task):
    from shap_bpt import Explainer

    def values(masks):
        return task.game(masks)[:, None]

    explain = Explainer(values, np.ones((1, task.players), np.uint8), 1)
    tree = partition_tree(task.players, task.splits)
    return explain.explain_instance(task.evaluations, bpt=tree, batch_size=16)[0, 0]


def _masker(task, clustering):
    from shap import maskers

    nothing = np.zeros((1, task.players))
    return (
        maskers.Independent(nothing)
        if clustering is None
        else maskers.Partition(nothing, clustering=clustering)
    )


def _permutation(task, masker):
    import shap

    explain = shap.PermutationExplainer(task.game, masker, seed=task.seed)
    return explain(np.ones((1, task.players)), max_evals=task.evaluations + 1, silent=True).values[0]


def _captum(task, method, **options):
    torch.manual_seed(task.seed)
    present = torch.ones(1, task.players)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = method(lambda rows: torch.from_numpy(task.game(rows))).attribute(
            present, baselines=0, perturbations_per_eval=task.game.batch, **options
        )
    return found[0].double().numpy()


@dataclass(frozen=True)
class Peer:
    """A function, its package and its kind of orders; ``spends``: evaluations per player and call."""

    call: object
    package: str
    order: str
    spends: int
    random: bool = True


PEERS = {
    "SHAP Permutation": Peer(shap_permutation, "shap", "flat", 2),
    "Captum ShapleyValueSampling": Peer(captum_sampling, "captum", "flat", 2),
    "SHAP Kernel": Peer(shap_kernel, "shap", "flat", 4),
    "Captum KernelShap": Peer(captum_kernel, "captum", "flat", 4),
    "SHAP Permutation, tree": Peer(shap_permutation_of_the_tree, "shap", "tree", 2),
    "SHAP Partition": Peer(shap_partition, "shap", "tree", 16, random=False),
    "shap-bpt, our tree": Peer(shap_bpt, "shap_bpt", "tree", 16, random=False),
}


def installed_peers():
    """Return the peers whose package is installed, by name."""
    return {name: peer for name, peer in PEERS.items() if find_spec(peer.package)}
