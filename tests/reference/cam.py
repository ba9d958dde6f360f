"""Class activation maps by the book: full autograd, explicit trilinear weights."""

import numpy as np
import torch


def rectified(values, rectify):
    return {"none": values, "abs": values.abs(), "relu": values.clamp(min=0)}[rectify]


def interpolation_matrix(voxels, cells, scale, offset):
    """Row v holds the two weights with which voxel v reads the cells."""
    matrix = np.zeros((voxels, cells))
    for v in range(voxels):
        at = min(max(scale * v + offset, 0.0), cells - 1.0)
        lower = int(np.floor(at))
        upper = min(lower + 1, cells - 1)
        matrix[v, lower] += 1 - (at - lower)
        matrix[v, upper] += at - lower
    return torch.from_numpy(matrix)


def weighted_cam(features, weights, size, rectify, scale=None, offset=None):
    """Channel sum in float64, rectified, then three matrix products."""
    low = (features.double().cpu() * weights.double().cpu()[:, :, None, None, None]).sum(1)
    low = rectified(low, rectify)
    if scale is None:
        scale = [c / v for c, v in zip(low.shape[1:], size, strict=True)]
        offset = [0.5 * s - 0.5 for s in scale]
    matrices = [
        interpolation_matrix(v, c, s, o)
        for v, c, s, o in zip(size, low.shape[1:], scale, offset, strict=True)
    ]
    return torch.einsum("bzyx,Zz,Yy,Xx->bZYX", low, *matrices)


def features_and_gradient(model, layer, scans, targets, score):
    """Both at a layer, with a graph through the whole model."""
    kept = {}
    handle = layer.register_forward_hook(lambda module, args, output: kept.update(f=output))
    try:
        with torch.enable_grad():
            outputs = model(scans.clone().requires_grad_(True))
            if score == "probability":
                outputs = outputs.softmax(1)
            chosen = sum(outputs[i, t] for i, t in enumerate(targets))
            (gradient,) = torch.autograd.grad(chosen, kept["f"])
    finally:
        handle.remove()
    return kept["f"].detach(), gradient


def gradcam(model, layer, scans, targets, rectify, score="logit", scale=None, offset=None):
    """Grad-CAM."""
    features, gradient = features_and_gradient(model, layer, scans, targets, score)
    return weighted_cam(features, gradient.mean((2, 3, 4)), scans.shape[2:], rectify, scale, offset)


def summand(method, f, g):
    """What one feature map of one scan adds to the coarse map, as it stands in the papers."""
    if method == "gradcampp":
        denominator = 2 * g**2 + f.sum() * g**3
        alpha = torch.where(denominator == 0, torch.zeros_like(g), g**2 / denominator)
        return (alpha * g.clamp(min=0)).sum() * f
    if method == "xgradcam":
        return 0 * f if f.sum() == 0 else (g * f).sum() / f.sum() * f
    return {"layercam": g.clamp(min=0), "hirescam": g}[method] * f


def gradient_map(method, model, layer, scans, targets, rectify, score="logit", scale=None, offset=None):
    """Grad-CAM++, XGrad-CAM, LayerCAM or HiResCAM: scan by scan, and one feature map after the other."""
    features, gradient = features_and_gradient(model, layer, scans, targets, score)
    low = torch.stack(
        [
            sum(summand(method, f, g) for f, g in zip(maps, gradients, strict=True))
            for maps, gradients in zip(features.double(), gradient.double(), strict=True)
        ]
    )[:, None]
    return weighted_cam(low, torch.ones(len(low), 1), scans.shape[2:], rectify, scale, offset)
