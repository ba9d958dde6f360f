"""Causal truth, its agreement with maps, masses and baselines, one voxel or window after the other."""

import itertools

import numpy as np
import torch


def class_score(model, volume, target, score):
    """Score of one scan ``[C, D, H, W]``, in float64."""
    with torch.no_grad():
        logits = model.eval()(volume[None]).double()[0]
    p = logits.softmax(0)[target]
    return float({"logit": logits[target], "probability": p, "log_odds": p.log() - (1 - p).log()}[score])


def causal_truth(model, volume, twin, target, window, score):
    """``[D, H, W]`` at stride 1: every window copied from the twin, one forward each."""
    whole = class_score(model, volume, target, score)
    found = np.zeros(volume.shape[1:])
    for centre in np.ndindex(found.shape):
        box = (slice(None), *(slice(max(0, c - window // 2), c - window // 2 + window) for c in centre))
        copy = volume.clone()
        copy[box] = twin[box]
        found[centre] = whole - class_score(model, copy, target, score)
    return found


def region_truth(model, volume, twin, mask, target, score):
    copy = torch.where(torch.from_numpy(mask), twin, volume)
    return class_score(model, volume, target, score) - class_score(model, copy, target, score)


def strongest_part(truth, share):
    """Take values from the strongest on until there are enough voxels; equal ones at once, never zeros."""
    wanted = max(1, int(np.ceil(share * truth.size)))
    found = np.zeros(truth.shape, bool)
    for value in sorted(set(np.abs(truth).ravel().tolist()) - {0.0}, reverse=True):
        if found.sum() >= wanted:
            break
        found |= np.abs(truth) == value
    return found


def ranks(values):
    """Mean rank of ties, by counting."""
    flat = values.ravel()
    return np.array([(flat < v).sum() + ((flat == v).sum() + 1) / 2 for v in flat])


def spearman(one, other):
    a, b = ranks(one), ranks(other)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


def gaussian(length, sigma, order=0):
    """Matrix ``[n, n]`` of a sampled Gaussian or its derivative, cut at 4 sigma, edges mirrored."""
    reach = int(4 * sigma + 0.5)
    offsets = range(-reach, reach + 1)
    weights = {k: np.exp(-(k**2) / (2 * sigma**2)) for k in offsets}
    total = sum(weights.values())
    matrix = np.zeros((length, length))
    for i, k in itertools.product(range(length), offsets):
        j = (i + k) % (2 * length)
        j = 2 * length - 1 - j if j >= length else j
        matrix[i, j] += weights[k] / total * (k / sigma**2 if order else 1)
    return matrix


def filtered(data, sigma, orders=(0, 0, 0)):
    for axis, order in enumerate(orders):
        matrix = gaussian(data.shape[axis], sigma, order)
        data = np.moveaxis(np.tensordot(matrix, data, (1, axis)), 0, axis)
    return data


def edge_map(scan, sigma):
    parts = [filtered(scan, sigma, orders) for orders in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    return np.sqrt(sum(part**2 for part in parts))


def smoothed_mass(heat, region, inside, sigma, percentile, dilation):
    smooth = filtered(np.where(heat > 0, heat, 0.0), sigma)
    cut = np.minimum(smooth, np.percentile(smooth[inside], percentile))
    places = np.argwhere(region)
    mass = total = 0.0
    for at in np.argwhere(inside):
        near = np.abs(places - at).sum(1).min() <= dilation
        total += cut[tuple(at)]
        mass += cut[tuple(at)] * near
    return mass / total if total > 0 else 0.0


def bootstrap_difference(one, other, draws):
    """Mean difference and 95% interval, one draw of patients after the other."""
    means = []
    for chosen in draws:
        means.append(sum(one[i] - other[i] for i in chosen) / len(chosen))
    return sum(one) / len(one) - sum(other) / len(other), *np.quantile(means, [0.025, 0.975])


def srg(model, volume, heat, target, steps, fill, score):
    """Area under deletion from the least relevant voxel on, minus that from the most relevant on."""
    order = sorted(range(heat.size), key=lambda i: (-abs(float(heat.ravel()[i])), i))
    areas = []
    for places in (order[::-1], order):
        curve = []
        for step in range(steps + 1):
            copy = volume.clone().reshape(-1)
            gone = places[: step * heat.size // steps]
            copy[gone] = fill.reshape(-1)[gone]
            curve.append(class_score(model, copy.reshape(volume.shape), target, score))
        areas.append(sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / steps)
    return areas[0] - areas[1]
