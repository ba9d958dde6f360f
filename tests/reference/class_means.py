"""Mean images of classes, voxel by voxel, in Python's own numbers."""

import math

import numpy as np


def brain_mean(volume):
    inside = [float(value) for value in volume.flat if value != 0]
    return math.fsum(inside) / len(inside)


def class_mean(volumes, labels, which, number, matched, least=8):
    """float64 ``[D, H, W]``: every scan brought to the average scan's brain mean, if they are matched."""
    means = {i: brain_mean(volumes[i]) for i in which}
    average = math.fsum(means.values()) / len(means)
    members = [i for i in which if labels[i] == number]
    out = np.zeros(volumes[0].shape)
    for place in np.ndindex(out.shape):
        values = [float(volumes[i][place]) for i in members]
        if sum(value != 0 for value in values) < least:
            continue
        scaled = [v * average / means[i] if matched else v for i, v in zip(members, values, strict=True)]
        out[place] = math.fsum(scaled) / len(members)
    return out
