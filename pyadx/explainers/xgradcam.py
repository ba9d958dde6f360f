"""XGrad-CAM in 3D (Fu et al., 2020)."""

import torch
from torch import Tensor

from pyadx.explainers.gradient_maps import GradientMaps, sum_dtype
from pyadx.explainers.registry import method


@method(
    "xgradcam",
    title="XGrad-CAM",
    answers="Where is the evidence in the feature maps of a layer, weighted where the maps are active?",
    cost="one forward pass and a part of a backward pass",
    presets={"paper": {"rectify": "relu", "align": "stretch", "score": "logit"}},
)
class XGradCAM(GradientMaps):
    """XGrad-CAM: Grad-CAM with gradients averaged over cells in proportion to their activation.

    ``M(x) = r(sum_k a_k f_k(x))`` with ``a_k = sum_x g_k(x) f_k(x) / sum_x f_k(x)``, or 0 if ``f_k`` sums
    to 0. Here ``g_k`` is the derivative of the class score with respect to feature map ``f_k``. Before
    ``r`` is applied, the cells of the map have the same sum as those of `HiResCAM`.

    The method is meant for feature maps without negative values, such as those after a ReLU. Otherwise the
    sum may come close to 0, and single feature maps then dominate the result.

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
    R. Fu, Q. Hu, X. Dong, Y. Guo, Y. Gao, B. Li: Axiom-based Grad-CAM: Towards accurate visualization and
    explanation of CNNs. BMVC 2020 (arXiv 2008.02312).
    """

    def _combined(self, gradient: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        dtype = sum_dtype(gradient)
        products = (gradient.to(dtype) * features.to(dtype)).sum((2, 3, 4))
        totals = features.sum((2, 3, 4), dtype=dtype)
        return features, torch.where(totals == 0, 0, products / totals)
