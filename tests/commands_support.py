"""A small brain-like scan and a small network for the tests of the command line."""

import numpy as np

from pyadx import models
from pyadx.models import Preprocessing

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 2, 0, -40], [0, 0, 2, -30], [0, 0, 0, 1]])


def brain(shape=(40, 44, 36)):
    """A masked blob with structure inside: zero outside, like a skull-stripped scan."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = sum(a**2 for a in axes)
    inside = 500 + 300 * np.cos(9 * axes[0]) * np.sin(7 * axes[1]) + 100 * axes[2]
    return np.where(radius < 0.6, inside, 0).astype(np.float32)


def save_small_network(path, seed=0):
    """A network that takes any scan, untrained."""
    model = models.build(
        "resnet-shallow-gap", (16, 16, 16), preprocessing=Preprocessing("max", 2.0), seed=seed
    )
    models.save(model, path)
