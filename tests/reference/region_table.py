"""A heatmap by region, a mask at a time."""

import numpy as np


def slow_region(heatmap, labels, affine, number, threshold):
    mask = labels == number
    values = heatmap[mask]
    at = min(tuple(int(n) for n in place) for place in np.argwhere(mask & (heatmap == values.max())))
    return {
        "n_voxels": int(mask.sum()),
        "volume_mm3": mask.sum() * np.sqrt(np.linalg.det(affine[:3, :3].T @ affine[:3, :3])),
        "mean": sum(values) / len(values),
        "sum": sum(values),
        "share_of_total": sum(abs(v) for v in values) / sum(abs(v) for v in heatmap.ravel()),
        "p95": np.percentile(values, 95),
        "max": max(values),
        **{f"max_{a}": n for a, n in zip("ijk", at, strict=True)},
        **{f"max_{a}": v for a, v in zip("xyz", (affine @ [*at, 1])[:3], strict=True)},
        "fraction_above": sum(v > threshold for v in values) / len(values),
        "rank": 1
        + sum(heatmap[labels == other].mean() > values.mean() for other in np.unique(labels) if other != 0),
    }
