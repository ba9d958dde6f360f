"""3D-Grad-CAM (paper section 3.3; Selvaraju et al., 2017)."""

from torch import Tensor, nn

from pyadx.explainers.gradient_maps import GradientMaps, sum_dtype
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
    "gradcam",
    title="Grad-CAM",
    answers="Where is the evidence in the feature maps of a layer?",
    cost="one forward pass and a part of a backward pass",
    presets={"paper": {"rectify": "abs", "align": "stretch", "score": "logit"}},
)
class GradCAM(GradientMaps):
    """Gradient-weighted class activation maps.

    ``M(x) = r(sum_k a_k f_k(x))`` with ``a_k`` the mean over the layer's cells of the derivative of the
    class score by feature map ``f_k``, upsampled to the scan. The model runs without autograd up to
    the layer, and the backward pass ends there.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, 1, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    layer : str, torch.nn.Module or sequence of these, optional
        Dotted name of the layer, such as ``"conv2b"`` or ``"bn4"``, or the layer itself. Several layers
        give one map each. By default the model's ``gradcam_layer``, or else its last 3D convolution.
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum: ``abs`` is the paper's choice ("areas significantly
        negatively contribute are also important"), ``relu`` that of Selvaraju et al.
    align : {"stretch", "receptive_field"}
        How the map is laid over the scan: over its whole extent (the paper), or with every cell where
        its receptive field is centred.
    score : {"logit", "probability", "log_odds", "output"}
        What is differentiated: the class score before softmax (the paper), the probability, its log-odds,
        or the output itself (regression).
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or what a sigmoid, softmax or log-softmax at
        its end made of them. A call warns where that looks wrong, or a probability cannot move.
    output : str or int, optional
        Which of several outputs holds the class scores: a name, or an index; by default the one that
        ``model.card`` names.
    batch_size : int or "auto"
        Scans per pass; halved when memory runs out.
    progress : bool, optional
        Show a progress bar with the time left. By default a terminal or a notebook shows one for calls
        that take longer than two seconds.
    keep_trace : bool
        With ``align="receptive_field"``: trace the model at the first call only. Set it for many calls with
        a model that does not change in between.

    Raises
    ------
    ValueError
        If an option or the layer is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: LayerOption = None,
        rectify: RectifyOption = "abs",
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
        return features, gradient.mean((2, 3, 4), dtype=sum_dtype(gradient))
