"""A 2D network on an axial slice of the brain, the only case that shap-bpt handles without our help.

Our engine takes 3D networks: `Lifted` is the same network with kernels one plane deep. Hierarchies need two
planes, so an empty plane follows the slice, and the network crops it.
"""

import numpy as np
import torch
from brain import brain
from torch import nn

from pyadx.segmentation import from_labels

_PLANE = 50


def network():
    """Return a 2D network with random weights, and the same one for volumes ``[B, 1, 2, H, W]``."""
    torch.manual_seed(0)
    flat = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2),
    ).eval()  # fmt: skip
    with torch.no_grad():
        flat[-1].weight *= 50  # log-odds that move by tenths, as a trained network's do
    return flat, Lifted(flat).eval()


class Lifted(nn.Module):
    """A 2D network in a form for volumes; it looks at their first plane, the slice."""

    def __init__(self, flat):
        super().__init__()
        self.layers = nn.Sequential(*(_lifted(layer) for layer in flat))

    def forward(self, x):
        return self.layers(x[:, :, :1])


def _lifted(layer):
    if isinstance(layer, nn.MaxPool2d):
        return nn.MaxPool3d((1, layer.kernel_size, layer.kernel_size))
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return nn.AdaptiveAvgPool3d(1)
    if not isinstance(layer, nn.Conv2d):
        return layer
    deep = nn.Conv3d(
        layer.in_channels, layer.out_channels, (1, *layer.kernel_size), padding=(0, *layer.padding)
    )
    deep.load_state_dict({"weight": layer.weight.detach()[:, :, None], "bias": layer.bias.detach()})
    return deep


def slice_case(players):
    """Return the slice ``[1, 1, 2, H, W]``, shap-bpt's tree of it, and our hierarchy of the tree's cuts."""
    from shap_bpt import build_bpt_from_image

    plane = brain()[:, :, _PLANE]
    tree = build_bpt_from_image(np.rint(plane * 255).astype(np.uint8), use_lab=False)
    levels = [_labels(tree, nodes, plane.shape) for nodes in _cuts(tree, players)]
    volume = torch.zeros(1, 1, 2, *plane.shape)
    volume[0, 0, 0] = torch.from_numpy(plane.copy())
    return volume, tree, from_labels(levels)


def _cuts(tree, players):
    """Undo one merge after another, from the last one on, and yield the nodes that are left."""
    nodes = [tree.N - 1]
    for _ in range(players - 1):
        last = max(nodes)
        nodes.remove(last)
        nodes += [int(tree.cl_left[last - tree.U]), int(tree.cl_right[last - tree.U])]
        yield list(nodes)


def _labels(tree, nodes, shape):
    labels = np.zeros(shape, np.int64)
    for number, node in enumerate(nodes, 1):
        if node < tree.U:
            low, high = tree.leaf_idx[node], tree.leaf_idx[node] + 1
        else:
            low, high = tree.cl_start[node - tree.U], tree.cl_end[node - tree.U]
        labels.reshape(-1)[tree.pixels[low:high]] = number
    return np.stack([labels, np.zeros_like(labels)])


class Pixels:
    """What shap-bpt explains without our help: the log-odds of masked slices by the 2D network."""

    def __init__(self, flat, volume, filled, target):
        self.flat, self.target = flat, target
        self.plane, self.filled = volume[0, :, 0], filled.expand_as(volume[0])[:, 0]
        self.evaluations = 0

    @torch.inference_mode()
    def __call__(self, masks):
        self.evaluations += len(masks)
        slices = torch.where(torch.from_numpy(masks)[:, None], self.plane, self.filled)
        own = torch.log_softmax(self.flat(slices).double(), 1)[:, self.target]
        return (own - torch.log(-torch.expm1(own))).numpy()[:, None]


def explained(pixels, tree, evaluations, numbers, players):
    """Return shap-bpt's values of pixels, summed over the regions of a label volume, float64 ``[K]``."""
    from shap_bpt import Explainer

    shape = tuple(pixels.plane.shape[1:])
    found = Explainer(pixels, np.ones(shape, np.uint8), 1).explain_instance(
        evaluations, bpt=tree, batch_size=16
    )
    return np.bincount(numbers[0].reshape(-1), found[0].reshape(-1), minlength=players + 1)[1:]
