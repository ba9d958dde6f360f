"""Localisation figures, voxel by voxel and threshold by threshold."""

import numpy as np


def average_precision(scores, mask):
    thresholds = sorted({float(s) for s in scores.ravel()}, reverse=True)
    total, before = 0.0, 0.0
    for threshold in thresholds:
        found = scores >= threshold
        hits = (found & mask).sum()
        recall, precision = hits / mask.sum(), hits / found.sum()
        total += (recall - before) * precision
        before = recall
    return total


def pointing(scores, mask):
    strongest = scores == scores.max()
    return (strongest & mask).sum() / strongest.sum()


def relevance_mass(scores, mask):
    return scores[mask].sum() / scores.sum()


def relevance_rank(scores, mask, random, draws=4000):
    """Break ties at random, often, and average."""
    flat, inside = scores.ravel(), mask.ravel()
    size = inside.sum()
    shares = []
    for _ in range(draws):
        order = np.lexsort((random.random(flat.size), -flat))
        shares.append(inside[order[:size]].sum() / size)
    return np.mean(shares)
