"""Volumes for the tests of the segmentation."""

import numpy as np


def blobs(shape=(14, 13, 15), seed=0, background=True):
    """Smooth random structure, with nothing outside an ellipsoid, like a skull-stripped scan."""
    from scipy import ndimage

    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    smooth = 1 + (smooth - smooth.min()) / np.ptp(smooth)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = sum(a**2 for a in axes) < 1.1
    return np.where(inside, smooth, 0) if background else smooth


def same_partition(a, b):
    """Whether two label volumes are the same up to the names of labels."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(a)) == len(np.unique(b))
