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
    """XGrad-CAM: Grad-CAM with gradients averaged by how active the feature map is at each cell.

    ``M(x) = r(sum_k a_k f_k(x))`` with ``a_k = sum_x g_k(x) f_k(x) / sum_x f_k(x)``, ``g_k`` the derivative
    of the class score by feature map ``f_k``; 0 where the map sums to 0. Before ``r`` the
    map's cells sum to what those of `HiResCAM` sum to.

    Meant for feature maps that are nowhere negative, such as those behind a ReLU: elsewhere the sum may
    come near to 0, and single maps then outweigh all others.

    Parameters
    ----------
    model, layer, align, score, outputs, output, batch_size, progress, keep_trace
        As in `GradCAM`.
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum; ``relu`` is the published choice.

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
