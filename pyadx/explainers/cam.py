"""3D-CAM (paper section 3.3; Zhou et al., 2016)."""

import torch
from torch import Tensor, nn

from pyadx.explainers.activation_maps import ActivationMaps
from pyadx.explainers.options import MapOptions
from pyadx.explainers.registry import method
from pyadx.explainers.shared_options import (
    AlignOption,
    OutputOption,
    OutputsOption,
    RectifyOption,
    ScoreOption,
)
from pyadx.inference.batching import BatchSize
from pyadx.inference.global_pooling import GapHead, find_gap_head
from pyadx.inference.model_state import Forward
from pyadx.inference.score import class_score


@method(
    "cam",
    title="CAM",
    answers="Where is the evidence that global average pooling passes to the output layer?",
    cost="one forward pass",
    presets={"paper": {"rectify": "abs", "align": "stretch", "score": "logit"}},
)
class CAM(ActivationMaps):
    """CAM: class activation maps, for networks with global average pooling before the output layer.

    ``M(x) = |sum_k w_k f_k(x)|``, where ``f_k`` are the feature maps that are averaged, and ``w`` is the
    target's row of the output layer. The bias is ignored. The map equals that of `GradCAM` at the same
    layer up to a constant factor. Source: Zhou et al., 2016.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores ``[B, classes]``, through global average pooling followed
        by one linear layer. Both are found by watching a forward pass. A sigmoid or softmax may follow if
        ``outputs`` says so.
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum. ``abs`` is the paper's choice.
    score : {"logit", "probability", "log_odds", "output"}
        The weights are the derivative of this score: the target's row ``w_t`` of the output layer for
        ``logit`` (the paper) and ``output``, ``p_t (w_t - sum_j p_j w_j)`` for ``probability``, and
        ``w_t - sum_j q_j w_j`` for ``log_odds``, where ``q`` is the softmax over the other classes.
    align, outputs, output, batch_size, progress, keep_trace
        As in `GradCAM`.

    Raises
    ------
    ValueError
        If an option is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
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
            model, MapOptions(score, outputs, batch_size, progress, rectify, align), keep_trace, output
        )
        self._head: GapHead | None = None

    def _layers(self, forward: Forward, volume: Tensor) -> tuple[str, ...]:
        if self._head is None:
            self._head = find_gap_head(self._network, forward, volume[:1], self._run.outputs)
        return (self._head.layer,)

    def _summands(
        self, features: Tensor, outputs: Tensor, classes: Tensor, layer: str
    ) -> tuple[Tensor, Tensor]:
        assert self._head is not None, "_layers finds it"
        return features, self._weights(self._head.rows(), outputs, classes)

    def _weights(self, rows: Tensor, outputs: Tensor, classes: Tensor) -> Tensor:
        """Return the derivative of each scan's class score by the averaged features, ``[B, features]``."""
        with torch.enable_grad():
            outputs = outputs.detach().requires_grad_()
            scores = class_score(outputs, classes, self._run.score)
            (by_output,) = torch.autograd.grad(scores.sum(), outputs)
        return by_output @ rows
