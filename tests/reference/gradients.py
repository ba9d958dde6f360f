"""Gradient methods, scan by scan and sample by sample, with plain autograd in float64."""

import numpy as np
import torch


def log_odds(model, target):
    """log p - log(1 - p) from softmax probabilities."""

    def score(scan):
        p = model(scan[None])[0].softmax(0)[target]
        return p.log() - (1 - p).log()

    return score


def logit(model, target):
    return lambda scan: model(scan[None])[0, target]


def slope(score, scan):
    scan = scan.clone().requires_grad_()
    score(scan).backward()
    return scan.grad


def smoothgrad(score, scan, samples, noise, seed):
    width = noise * (scan.max() - scan.min())
    total = torch.zeros_like(scan)
    for sample in range(samples):
        drawn = np.random.default_rng([seed, sample]).standard_normal(scan.shape, np.float32)
        total += slope(score, scan + width * torch.from_numpy(drawn))
    return total / samples


def integrated_gradients(score, scan, baseline, steps):
    """The mean of the gradients at the middle of ``steps`` pieces of the path, times its length."""
    total = torch.zeros_like(scan)
    for step in range(steps):
        total += slope(score, baseline + (step + 0.5) / steps * (scan - baseline)) / steps
    return total * (scan - baseline)


def rescale(layers, scan, baseline, weights):
    """DeepLIFT's rescale rule for a chain of layers that are linear, ReLUs or max poolings of 2x2x2.

    The contributions of the layers' outputs are followed down, one layer at a time.

    Parameters
    ----------
    layers : sequence of callable
        From the scan ``[1, C, D, H, W]`` to class scores ``[1, classes]``.
    scan, baseline : Tensor
        ``[C, D, H, W]``.
    weights : Tensor
        What each class score counts for, ``[classes]``.
    """
    given, other = [scan[None]], [baseline[None]]
    for layer in layers:
        # Of copies: a layer may work in place.
        given.append(layer(given[-1].clone()).detach())
        other.append(layer(other[-1].clone()).detach())
    multiplier = weights[None]
    for layer, x, y, fx, fy in zip(
        reversed(layers), given[-2::-1], other[-2::-1], given[:0:-1], other[:0:-1], strict=True
    ):
        if isinstance(layer, torch.nn.ReLU):
            same = x == y
            ratio = torch.where(same, (x > 0).to(x), (fx - fy) / torch.where(same, 1.0, x - y))
            multiplier = multiplier * ratio
        elif isinstance(layer, torch.nn.MaxPool3d):
            multiplier = pooled(multiplier, x, y)
        else:  # linear: the derivative is the same everywhere
            at = x.clone().requires_grad_()
            (multiplier,) = torch.autograd.grad(layer(at), at, multiplier)
    return multiplier[0] * (scan - baseline)


def pooled(multiplier, x, y):
    """Hand multipliers of a 2x2x2 max pooling back to its input, window by window.

    From the baseline's maximum the output goes up to the larger of both by the scan's largest voxel, and
    down from there by the baseline's.
    """
    back = torch.zeros_like(x)
    for place in np.ndindex(tuple(multiplier.shape)):
        batch, channel, *corner = place
        window = (batch, channel, *(slice(2 * n, 2 * n + 2) for n in corner))
        mine, other = x[window], y[window]
        largest = max(mine.max(), other.max())
        for at, step in (
            (mine.argmax(), largest - other.max()),
            (other.argmax(), mine.max() - largest),
        ):
            if step != 0:
                difference = (mine - other).flatten()[at]
                inner = np.unravel_index(int(at), mine.shape)
                back[window][inner] += multiplier[place] * step / difference
    return back
