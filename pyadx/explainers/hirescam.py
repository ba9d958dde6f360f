"""HiResCAM in 3D (Draelos and Carin, 2020)."""

from torch import Tensor, nn

from pyadx.explainers.gradient_maps import GradientMaps, summed_products
from pyadx.explainers.registry import method
from pyadx.explainers.shared_options import (
    AlignOption,
    LayerOption,
    OutputOption,
    OutputsOption,
    RectifyOption,
    ScoreOption,
)
from pyadx.inference.batching import BatchSize


@method(
    "hirescam",
    title="HiResCAM",
    answers="Which cells of a layer speak for the class, and which against it?",
    cost="one forward pass and a part of a backward pass",
    presets={"paper": {"rectify": "none", "align": "stretch", "score": "logit"}},
)
class HiResCAM(GradientMaps):
    """HiResCAM: the feature maps times their gradients, cell by cell; the map keeps the sign.

    ``M(x) = r(sum_k g_k(x) f_k(x))``, where ``g_k`` is the derivative of the class score with respect to
    feature map ``f_k``. If only linear operations follow the layer, the cells of the map sum to the class
    score without the biases. If global average pooling and a linear output layer follow, the map equals
    that of `GradCAM`.

    Parameters
    ----------
    model, layer, align, score, outputs, output, batch_size, progress, keep_trace
        As in `GradCAM`.
    rectify : {"none", "abs", "relu"}
        What is done to the sum. ``none``, which keeps the sign, is the published choice.

    Raises
    ------
    ValueError
        If an option or the layer is unknown.

    References
    ----------
    R. L. Draelos, L. Carin: Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
    neural networks. 2020 (arXiv 2011.08891).
    """

    def __init__(
        self,
        model: nn.Module,
        layer: LayerOption = None,
        rectify: RectifyOption = "none",
        *,
        align: AlignOption = "stretch",
        score: ScoreOption = "logit",
        outputs: OutputsOption = "logits",
        output: OutputOption = None,
        batch_size: BatchSize = "auto",
        progress: bool | None = None,
        keep_trace: bool = False,
    ) -> None:
        super().__init__(
            model, layer, rectify, align=align, score=score, outputs=outputs, output=output,
            batch_size=batch_size, progress=progress, keep_trace=keep_trace,
        )  # fmt: skip

    def _combined(self, gradient: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return summed_products(gradient, features)
