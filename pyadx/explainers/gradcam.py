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
    """Grad-CAM: gradient-weighted class activation maps.

    ``M(x) = r(sum_k a_k f_k(x))``, resampled to the scan. ``r`` is the rectifier, and ``a_k`` is the
    derivative of the class score with respect to feature map ``f_k``, averaged over the cells of the map.
    The model runs without autograd up to the layer, and the backward pass ends there. Source: Selvaraju et
    al., 2017.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    layer : str, torch.nn.Module or sequence of these, optional
        Dotted name of the layer, such as ``"conv2b"`` or ``"bn4"``, or the layer itself. Several layers
        give one map each. By default the model's attribute ``gradcam_layer``, or its last 3D convolution.
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum. ``abs`` is the paper's choice ("areas significantly negatively
        contribute are also important"), ``relu`` that of Selvaraju et al.
    align : {"stretch", "receptive_field"}
        How the map is placed on the scan: stretched over its whole extent (the paper), or with every cell
        at the centre of its receptive field.
    score : {"logit", "probability", "log_odds", "output"}
        The score that is differentiated: the class score before softmax (the paper), the probability, its
        log-odds, or the output itself (regression).
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or the result of a final sigmoid or softmax, or
        of a log-softmax. A call warns if that looks wrong, or if the probability is saturated.
    output : str or int, optional
        Name or index of the output that holds the class scores, if the model has several. By default the
        one that ``model.card`` names.
    batch_size : int or "auto"
        Scans per pass. It is halved when memory runs out.
    progress : bool, optional
        Show a progress bar with the time left. By default calls that take longer than two seconds show one
        in a terminal or notebook.
    keep_trace : bool
        With ``align="receptive_field"``: trace the model at the first call only. This saves time over many
        calls, but later changes of the model are not noticed.

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
