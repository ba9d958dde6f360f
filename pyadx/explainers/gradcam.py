"""3D-Grad-CAM (paper section 3.3; Selvaraju et al., 2017)."""

from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.alignment import Placement, activation_map
from pyadx.explainers.base import Explainer, Explanation, SinglePass
from pyadx.explainers.batches import Explain, over_scans
from pyadx.explainers.option_kinds import LAYERS, optional
from pyadx.explainers.options import MapOptions
from pyadx.explainers.registry import Option, method
from pyadx.explainers.shared_options import AlignOption, OutputsOption, RectifyOption, ScoreOption
from pyadx.explainers.volumes import check_volume
from pyadx.inference.batching import BatchSize
from pyadx.inference.capture import Layer, capture, layer_names, why_unwatched
from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.score import (
    Target,
    as_logits,
    check_are_probabilities,
    check_outputs,
    class_score,
    resolve_target,
)
from pyadx.inference.watch import OutputWatch
from pyadx.inference.wrappers import described, unwrapped


@method(
    "gradcam",
    title="Grad-CAM",
    answers="Where is the evidence in the feature maps of a layer?",
    cost="one forward pass and a part of a backward pass",
    presets={"paper": {"rectify": "abs", "align": "stretch", "score": "logit"}},
)
class GradCAM(Explainer):
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
    score : {"logit", "probability"}
        What is differentiated: the class score before softmax (the paper), or the probability.
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or what a sigmoid, softmax or log-softmax at
        its end made of them. A call warns where that looks wrong, or a probability cannot move.
    batch_size : int or "auto"
        Scans per pass; halved when memory runs out.
    progress : bool
        Show a progress bar.
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
        layer: Annotated[
            Layer | None, Option("Name of the layer; default: the network's last.", optional(LAYERS))
        ] = None,
        rectify: RectifyOption = "abs",
        *,
        align: AlignOption = "stretch",
        score: ScoreOption = "logit",
        outputs: OutputsOption = "logits",
        batch_size: BatchSize = "auto",
        progress: bool = False,
        keep_trace: bool = False,
    ) -> None:
        self._run = MapOptions(score, outputs, batch_size, progress, rectify, align)
        self.model = model
        self.rectify = rectify
        self.align = align
        self.score = score
        self.keep_trace = keep_trace
        self._placement = Placement(align)
        self.outputs = outputs
        self._network = unwrapped(model)
        names = layer_names(self._network, _default_layer(model) if layer is None else layer)
        self.layer = names[0] if len(names) == 1 else names

    def run(self, volume: Tensor | np.ndarray, target: Target = None) -> Explanation:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume : Tensor or numpy.ndarray
            ``[B, 1, D, H, W]`` or ``[1, D, H, W]``. Floating-point tensors are on the model's device and of
            its dtype; arrays and whole numbers are brought there.
        target : int, str, sequence, array or None
            Class to explain, for all scans or one per scan; ``None`` explains the predicted class of
            each scan.

        Returns
        -------
        Explanation
            Heatmap, class scores, targets. The heatmap is ``[B, L, D, H, W]`` for L layers.

        Raises
        ------
        TypeError, ValueError
            If the volume or target does not fit, or the layer has no gradient.
        """
        with torch.inference_mode(False):
            volume = check_volume(volume, self.model)
            if not self.keep_trace:
                self._placement = Placement(self.align)
            forward = Forward(self.model)
            with evaluation_mode(self.model):
                if isinstance(self.layer, str):
                    explain = self._explainer(forward, self.layer)
                    maps, outputs = over_scans(volume, target, explain, self._run, forward)
                else:
                    found = [
                        over_scans(volume, target, self._explainer(forward, layer), self._run, forward)
                        for layer in self.layer
                    ]
                    maps, outputs = torch.stack([heat for heat, _ in found], 1), found[0][1]
                targets = resolve_target(target, outputs, self.model)
                reports = (SinglePass(1 if isinstance(self.layer, str) else len(self.layer)),) * len(maps)
                return self._explanation(maps, outputs, targets, reports)

    def _explainer(self, forward: Forward, layer: str) -> Explain:
        def explain(scans: Tensor, target: Target, watch: OutputWatch) -> tuple[Tensor, Tensor]:
            with (
                torch.no_grad(),
                capture(self._network, layer, differentiable=True) as captured,
            ):
                given = check_outputs(forward(scans), scans.shape[0], self._run.outputs)
                check_are_probabilities(given.detach(), self._run.outputs)
                outputs = as_logits(given, self._run.outputs)
                features = captured.features
                classes = resolve_target(target, outputs.detach(), self.model)
                weights = _weights(class_score(outputs, classes, self._run.score), features, layer)
            with torch.no_grad():
                watch.begin(given, classes, self._network, forward, scans[:1])
            heat = activation_map(
                self._placement, self._network, layer, features, weights, scans, self._run
            )
            return heat, outputs.detach()

        return explain


def _weights(scores: Tensor, features: Tensor, layer: str) -> Tensor:
    """Return the mean gradient of the class scores by each feature map, ``[B, K]``."""
    gradient = None
    if scores.requires_grad:
        (gradient,) = torch.autograd.grad(scores.sum(), features, allow_unused=True)
    if gradient is None:
        raise ValueError(f"the class score does not depend on layer {layer!r} in a differentiable way")
    dtype = torch.float64 if gradient.dtype == torch.float64 else torch.float32
    return gradient.mean((2, 3, 4), dtype=dtype)


def _default_layer(model: nn.Module) -> str:
    declared = getattr(described(model, "gradcam_layer"), "gradcam_layer", None)
    if isinstance(declared, str):
        return declared
    inside = unwrapped(model)
    convolutions = [name for name, m in inside.named_modules() if isinstance(m, nn.Conv3d)]
    if not convolutions:
        reason = why_unwatched(inside) or "name a layer that gives feature maps"
        raise ValueError(f"the model has no 3D convolution to watch: {reason}")
    return convolutions[-1]
