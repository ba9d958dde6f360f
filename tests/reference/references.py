"""References, written voxel by voxel."""

import numpy as np


def local_mean(volume, sigma):
    """Gaussian mean over the brain's voxels, from the distances between all pairs; ``[C, D, H, W]``."""
    brain = (volume != 0).any(0)
    places = np.argwhere(brain).astype(float)
    reach = [int(4 * s + 0.5) for s in np.broadcast_to(sigma, 3)]
    out = np.zeros_like(volume)
    for place in np.argwhere(brain):
        offsets = places - place
        weights = np.exp(-0.5 * ((offsets / np.broadcast_to(sigma, 3)) ** 2).sum(1))
        weights[(np.abs(offsets) > reach).any(1)] = 0
        for channel in range(len(volume)):
            out[(channel, *place)] = (weights * volume[channel][brain]).sum() / weights.sum()
    return out


def harmonic(volume, box, inside):
    """Solve Laplace's equation in a region with a dense matrix; ``[C, d, h, w]``."""
    brain = (volume != 0).any(0)
    z0, y0, x0, z1, y1, x1 = box
    whole = np.array_equal(inside, brain[z0:z1, y0:y1, x0:x1])
    unknown = [tuple(p) for p in np.argwhere(np.ones_like(inside) if whole else inside)]
    number = {place: i for i, place in enumerate(unknown)}
    brain_places = np.argwhere(brain)

    def continued(channel, place):
        clipped = np.clip(place, 0, np.array(brain.shape) - 1)
        distances = ((brain_places - clipped) ** 2).sum(1)
        nearest = brain_places[distances == distances.min()]
        return {float(volume[(channel, *p)]) for p in nearest}

    out = np.zeros((len(volume), *inside.shape))
    for channel in range(len(volume)):
        matrix, right = np.zeros((len(unknown), len(unknown))), np.zeros(len(unknown))
        for i, place in enumerate(unknown):
            for axis in range(3):
                for step in (-1, 1):
                    beside = list(place)
                    beside[axis] += step
                    matrix[i, i] += 1
                    if tuple(beside) in number:
                        matrix[i, number[tuple(beside)]] -= 1
                    else:
                        values = continued(channel, np.add(beside, (z0, y0, x0)))
                        assert len(values) == 1, "ties: choose a volume without"
                        right[i] += values.pop()
        solved = np.linalg.solve(matrix, right)
        for place, value in zip(unknown, solved, strict=True):
            out[(channel, *place)] = value
    return out
