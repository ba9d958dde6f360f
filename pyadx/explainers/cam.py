"""3D-CAM (paper section 3.3; Zhou et al., 2016)."""

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.alignment import Placement, activation_map
from pyadx.explainers.base import Explainer, Explanation, SinglePass
from pyadx.explainers.batches import Explain, over_scans
from pyadx.explainers.options import MapOptions
from pyadx.explainers.registry import method
from pyadx.explainers.shared_options import AlignOption, OutputsOption, RectifyOption, ScoreOption
from pyadx.explainers.volumes import check_volume
from pyadx.inference.batching import BatchSize
from pyadx.inference.capture import capture
from pyadx.inference.global_pooling import GapHead, find_gap_head
from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.score import (
    Target,
    as_logits,
    check_are_probabilities,
    check_outputs,
    probabilities,
    resolve_target,
)
from pyadx.inference.watch import OutputWatch
from pyadx.inference.wrappers import unwrapped


@method(
    "cam",
    title="CAM",
    answers="Where is the evidence that global average pooling hands to the output layer?",
    cost="one forward pass",
    presets={"paper": {"rectify": "abs", "align": "stretch", "score": "logit"}},
)
class CAM(Explainer):
    """Class activation maps of a network whose output layer follows global average pooling.

    ``M(x) = |sum_k w_k f_k(x)|`` with ``f_k`` the feature maps that are averaged and ``w`` the target's
    row of the output layer; its bias is ignored. Equal to `GradCAM` at that layer up to a constant
    factor.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, 1, D, H, W]`` to class scores ``[B, classes]`` through global average pooling and one
        linear layer, both of which are found by looking at a forward pass. A sigmoid or softmax may
        follow if ``outputs`` says so.
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum; ``abs`` is the paper's choice.
    align : {"stretch", "receptive_field"}
        How the map is laid over the scan (see `GradCAM`).
    score : {"logit", "probability"}
        ``logit`` takes the target's row of the output layer (the paper); ``probability`` its
        derivative through the softmax, ``p_t (w_t - sum_j p_j w_j)``.
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
        batch_size: BatchSize = "auto",
        progress: bool = False,
        keep_trace: bool = False,
    ) -> None:
        self._run = MapOptions(score, outputs, batch_size, progress, rectify, align)
        self.model = model
        self._network = unwrapped(model)
        self.rectify = rectify
        self.align = align
        self.score = score
        self.keep_trace = keep_trace
        self._placement = Placement(align)
        self.outputs = outputs
        self._head: GapHead | None = None

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
            Heatmap, class scores, targets.

        Raises
        ------
        TypeError, ValueError
            If the volume or target does not fit, or the model has no such output layer.
        """
        volume = check_volume(volume, self.model)
        if not self.keep_trace:
            self._placement = Placement(self.align)
        forward = Forward(self.model)
        with evaluation_mode(self.model), torch.no_grad():
            if self._head is None:
                self._head = find_gap_head(self._network, forward, volume[:1], self._run.outputs)
            explain = self._explainer(forward, self._head)
            maps, outputs = over_scans(volume, target, explain, self._run, forward)
            targets = resolve_target(target, outputs, self.model)
            return self._explanation(maps, outputs, targets, (SinglePass(),) * len(maps))

    def _explainer(self, forward: Forward, head: GapHead) -> Explain:
        def explain(scans: Tensor, target: Target, watch: OutputWatch) -> tuple[Tensor, Tensor]:
            with capture(self._network, head.layer) as captured:
                given = check_outputs(forward(scans), scans.shape[0], self._run.outputs)
            check_are_probabilities(given, self._run.outputs)
            outputs = as_logits(given, self._run.outputs)
            classes = resolve_target(target, outputs, self.model)
            features = captured.features
            weights = self._weights(head.rows(), outputs, classes)
            watch.begin(given, classes, self._network, forward, scans[:1])
            heat = activation_map(
                self._placement, self._network, head.layer, features, weights, scans, self._run
            )
            return heat, outputs

        return explain

    def _weights(self, rows: Tensor, outputs: Tensor, classes: Tensor) -> Tensor:
        if self._run.score == "logit":
            # A single output is the logit of class 1, and its negative that of class 0.
            return (rows if len(rows) > 1 else torch.cat([-rows, rows]))[classes]
        if len(rows) == 1:  # softmax over (0, logit) is the sigmoid
            rows = torch.cat([torch.zeros_like(rows), rows])
        shares = probabilities(outputs)
        return shares.gather(1, classes[:, None]) * (rows[classes] - shares @ rows)
