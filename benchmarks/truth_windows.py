"""Occlusion as Captum and MONAI define it, by our exact engine.

Both slide a window from the first voxel on, fill it, and give every voxel the mean of all windows that
cover it (MONAI can weight them). Their own loops take one full forward per window: hours for a 110^3 scan.
So their maps are computed here, with their windows, fills and weights, by our engine, whose scores equal
those of full forwards. tests/evaluation/test_truth_peers.py compares the results with theirs.
"""

from itertools import product

import numpy as np
import torch

from pyadx.inference import IncrementalScorer
from pyadx.inference.incremental.trace import KeptTrace


def captum_occlusion(model, volume, target, window, stride, inside=None, fill=0.0):
    """Return the map of ``captum.attr.Occlusion`` for these window shapes, strides and baseline."""
    starts = [[k * stride for k in range(-(-(n - window) // stride) + 1)] for n in volume.shape[2:]]
    drop = dropped(model, volume, target, starts, window, inside, fill)
    return painted(volume.shape[2:], starts, drop, torch.ones(window, window, window))


def monai_occlusion(model, volume, target, window, stride, inside=None, mode="gaussian"):
    """``monai.visualize.OcclusionSensitivity(model, window, mode=mode, overlap=1 - stride / window)``.

    MONAI's map is the score of the filled scan. Here it is the decrease of that score: a large value means
    an important place. For scans of one channel, MONAI's score is the sigmoid of the class's logit.
    """
    from monai.data.utils import compute_importance_map
    from monai.visualize import OcclusionSensitivity

    starts = []
    for n in volume.shape[2:]:
        regular = range(0, n - window + stride, stride)
        starts.append(sorted({min(k, n - window) for k in regular}))
    weights = torch.ones(window, window, window)
    if mode == "gaussian":
        weights = compute_importance_map((window,) * 3, mode="gaussian", sigma_scale=0.125)
        weights = weights.clamp(min=max(float(weights.min()), 1e-3))
        kept, _ = OcclusionSensitivity.gaussian_occlusion(volume, (window,) * 3)
        fill = kept[0].__mul__
    elif mode == "mean_patch":

        def fill(patch):  # MONAI 1.6.1 multiplies by the mean, though it says that it fills with it
            return patch * float(patch.mean())

    else:
        fill = float(volume.mean()) if mode == "mean_img" else float(mode)
    drop = dropped(model, volume, target, starts, window, inside, fill, sigmoid=True)
    return painted(volume.shape[2:], starts, drop, weights)


def dropped(model, volume, target, starts, window, inside, fill, sigmoid=False):
    """Return by how much the logit, or its sigmoid, falls with each window filled, float64 ``[Z, Y, X]``.

    Windows that reach no voxel of ``inside`` are left at 0. A fill that depends on the content of a window
    is written into a volume. That needs windows without overlap, so windows are scored in such groups.
    """
    boxes, places = [], []
    for place in product(*(range(len(s)) for s in starts)):
        low = [s[i] for s, i in zip(starts, place, strict=True)]
        box = tuple(slice(a, a + window) for a in low)
        if inside is None or inside[box].any():
            boxes.append([*low, *(a + window for a in low)])
            places.append(place)
    boxes, places = torch.tensor(boxes), np.array(places)
    found = np.zeros([len(s) for s in starts])
    tracer = KeptTrace()
    for chosen in _groups(starts, places, window) if callable(fill) else [np.arange(len(boxes))]:
        own = fill
        if callable(fill):
            own = volume[0].clone()
            for box in boxes[chosen].tolist():
                at = (slice(None), *(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True)))
                own[at] = fill(volume[0][at])
        scorer = IncrementalScorer(
            model, volume[0], target, fill=own, signed=True, score="logit", tracer=tracer
        )
        falls = scorer.score(boxes[chosen]).double().numpy()
        if sigmoid:
            before = torch.tensor(scorer.reference).double()
            falls = (before.sigmoid() - (before - torch.from_numpy(falls)).sigmoid()).numpy()
        found[tuple(places[chosen].T)] = falls
    return found


def _groups(starts, places, window):
    """Split windows into groups in which none overlap another."""
    colours = []
    for axis in starts:
        own, free = [], []  # free: where the last window of each colour ends
        for start in axis:
            colour = next((c for c, end in enumerate(free) if end <= start), len(free))
            free[colour : colour + 1] = [start + window]
            own.append(colour)
        colours.append(np.array(own))
    key = np.stack([colours[axis][places[:, axis]] for axis in range(3)], 1)
    _, group = np.unique(key, axis=0, return_inverse=True)
    return [np.flatnonzero(group.ravel() == g) for g in range(group.max() + 1)]


def painted(shape, starts, drop, weights):
    """Give every voxel the weighted mean of the windows that cover it, float32."""
    total, count = np.zeros(shape), np.zeros(shape)
    kernel = weights.double().numpy()
    for place in product(*(range(len(s)) for s in starts)):
        box = tuple(slice(s[i], s[i] + len(kernel)) for s, i in zip(starts, place, strict=True))
        part = kernel[tuple(slice(0, n) for n in total[box].shape)]
        total[box] += drop[place] * part
        count[box] += part
    return (total / np.maximum(count, 1e-300)).astype(np.float32)
