"""LayerCAM in 3D (Jiang et al., 2021)."""

from torch import Tensor

from pyadx.explainers.gradient_maps import GradientMaps, summed_products
from pyadx.explainers.registry import method


@method(
    "layercam",
    title="LayerCAM",
    answers="Which cells of a layer speak for the class, in shallow layers, too?",
    cost="one forward pass and a part of a backward pass",
    presets={"paper": {"rectify": "relu", "align": "stretch", "score": "logit"}},
)
class LayerCAM(GradientMaps):
    """LayerCAM: every cell of a feature map weighted by its own positive gradient.

    ``M(x) = r(sum_k max(g_k(x), 0) f_k(x))`` with ``g_k`` the derivative of the class score by feature map
    ``f_k``. Since no gradient is averaged over the layer, shallow layers give maps that are as fine as they
    are.

    Parameters
    ----------
    model, layer, align, score, outputs, output, batch_size, progress, keep_trace
        As in `GradCAM`.
    rectify : {"abs", "relu", "none"}
        What is done to the sum; ``relu`` is the published choice.

    Raises
    ------
    ValueError
        If an option or the layer is unknown.

    References
    ----------
    P.-T. Jiang, C.-B. Zhang, Q. Hou, M.-M. Cheng, Y. Wei: LayerCAM: Exploring hierarchical class activation
    maps for localization. IEEE Transactions on Image Processing 30, 2021, 5875-5888.
    """

    def _combined(self, gradient: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return summed_products(gradient.relu(), features)
