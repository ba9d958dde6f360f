"""LayerCAM in 3D (Jiang et al., 2021)."""

from torch import Tensor

from pyadx.explainers.gradient_maps import GradientMaps, summed_products
from pyadx.explainers.registry import method


@method(
    "layercam",
    title="LayerCAM",
    answers="Which cells of a layer, also a shallow one, speak for the class?",
    cost="one forward pass and a part of a backward pass",
    presets={"paper": {"rectify": "relu", "align": "stretch", "score": "logit"}},
)
class LayerCAM(GradientMaps):
    """LayerCAM: the feature maps weighted by their positive gradients, cell by cell.

    ``M(x) = r(sum_k max(g_k(x), 0) f_k(x))``, where ``g_k`` is the derivative of the class score with
    respect to feature map ``f_k``. Gradients are not averaged over the layer, so shallow layers give maps
    of their own fine resolution.

    Parameters
    ----------
    model, layer, align, score, outputs, output, batch_size, progress, keep_trace
        As in `GradCAM`.
    rectify : {"abs", "relu", "none"}
        What is done to the sum. ``relu`` is the published choice.

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
