"""Shapley and Winter values by all subsets: obvious, and exponential."""

from itertools import combinations, permutations, product
from math import factorial

import numpy as np
import torch


def all_values(value, players):
    """The value of every coalition, by frozen set."""
    every = range(players)
    return {frozenset(c): value(c) for size in range(players + 1) for c in combinations(every, size)}


def region_game(model, scan, masks, fill, target=1):
    """Log-odds of the class for every coalition of regions that are there, by a forward each."""

    def value(present):
        volume = scan.clone()
        for player, mask in enumerate(masks):
            if player not in present:
                volume[:, mask] = fill
        odds = torch.log_softmax(model(volume[None]), 1).exp()[0, target]
        return float(odds.log() - (1 - odds).log())

    with torch.no_grad():
        return all_values(value, len(masks))


def shapley(values, players):
    """``sum over subsets of |S|! (K - |S| - 1)! / K! (v(S + i) - v(S))``."""
    found = np.zeros(players)
    for player in range(players):
        for coalition, value in values.items():
            if player not in coalition:
                size = len(coalition)
                weight = factorial(size) * factorial(players - size - 1) / factorial(players)
                found[player] += weight * (values[coalition | {player}] - value)
    return found


def winter(values, tree):
    """``2^-d sum over subsets C of the d siblings on the path of (v(C + i) - v(C))``; nested pairs."""
    found = {}

    def members(node):
        return frozenset([node]) if isinstance(node, int) else members(node[0]) | members(node[1])

    def descend(node, siblings):
        if not isinstance(node, int):
            descend(node[0], [*siblings, members(node[1])])
            descend(node[1], [*siblings, members(node[0])])
            return
        subsets = [
            frozenset().union(*chosen)
            for size in range(len(siblings) + 1)
            for chosen in combinations(siblings, size)
        ]
        gains = [values[subset | {node}] - values[subset] for subset in subsets]
        found[node] = sum(gains) / len(subsets)

    descend(tree, [])
    return np.array([found[player] for player in sorted(found)])


def nested_shapley(values, tree):
    """The mean over all orders that keep the members of every list of a nested list together."""

    def orders(node):
        if isinstance(node, int):
            return [[node]]
        found = []
        for arranged in permutations(node):
            for chosen in product(*map(orders, arranged)):
                found.append([player for block in chosen for player in block])
        return found

    every = orders(tree)
    found = np.zeros(len(every[0]))
    for order in every:
        for place, player in enumerate(order):
            found[player] += values[frozenset(order[: place + 1])] - values[frozenset(order[:place])]
    return found / len(every)


def pair_interaction(values, players, a, b):
    """``s(all) - s(without a) - s(without b) + s(without both)``."""
    everyone = frozenset(range(players))
    return values[everyone] - values[everyone - {a}] - values[everyone - {b}] + values[everyone - {a, b}]
