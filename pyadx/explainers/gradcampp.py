"""Grad-CAM++ in 3D (Chattopadhay et al., 2018)."""

import torch
from torch import Tensor

from pyadx.explainers.gradient_maps import GradientMaps, sum_dtype
from pyadx.explainers.registry import method


@method(
    "gradcampp",
    title="Grad-CAM++",
    answers="Where is the evidence in the feature maps of a layer, if several places share it?",
    cost="one forward pass and a part of a backward pass",
    presets={"paper": {"rectify": "relu", "align": "stretch", "score": "logit"}},
)
class GradCAMPlusPlus(GradientMaps):
    """Grad-CAM++: feature maps weighted by a weighted mean of their positive gradients.

    ``M(x) = r(sum_k w_k f_k(x))`` with ``w_k = sum_x a_k(x) max(g_k(x), 0)``. Here ``g_k`` is the
    derivative of the class score with respect to feature map ``f_k``, and
    ``a_k(x) = g_k(x)^2 / (2 g_k(x)^2 + (sum_y f_k(y)) g_k(x)^3)``, or 0 where the denominator is 0. The
    published weights have a further factor ``exp(score)``. It is left out, since it only scales the whole
    map and can overflow. MONAI's ``GradCAMpp`` has ``sum_y f_k(y) g_k(y)^3`` in the denominator, which is
    the same only if the gradient is the same in all cells of a map.

    The method is meant for feature maps without negative values, such as those after a ReLU. Otherwise the
    denominator may come close to 0, and single feature maps then dominate the result.

    Parameters
    ----------
    model, layer, align, score, outputs, output, batch_size, progress, keep_trace
        As in `GradCAM`.
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum. ``relu`` is the published choice.

    Raises
    ------
    ValueError
        If an option or the layer is unknown.

    References
    ----------
    A. Chattopadhay, A. Sarkar, P. Howlader, V. N. Balasubramanian: Grad-CAM++: Generalized gradient-based
    visual explanations for deep convolutional networks. WACV 2018 (arXiv 1710.11063).
    """

    def _combined(self, gradient: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        dtype = sum_dtype(gradient)
        gradient = gradient.to(dtype)
        total = features.sum((2, 3, 4), keepdim=True, dtype=dtype)
        # The fraction is reduced by g^2, which may round to 0. Where g is 0, relu(g) is 0, too.
        denominator = 2 + total * gradient
        shares = torch.where(denominator == 0, 0, gradient.relu() / denominator)
        return features, shares.sum((2, 3, 4))
