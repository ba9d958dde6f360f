"""3D-CAM (paper section 3.3; Zhou et al., 2016)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.explainers.alignment import activation_map
from pyadx.explainers.batches import over_scans
from pyadx.explainers.options import Align, MapOptions
from pyadx.explainers.volumes import check_volume
from pyadx.inference.batching import BatchSize
from pyadx.inference.capture import capture
from pyadx.inference.gap import GapHead, find_gap_head
from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.score import (
    Score,
    Target,
    check_outputs,
    probabilities,
    resolve_target,
)


class CAM:
    """Class activation maps of a network whose output layer follows global average pooling.

    ``M(x) = |sum_k w_k f_k(x)|`` with ``f_k`` the feature maps that are averaged and ``w`` the target's
    row of the output layer; its bias is ignored. Equal to `GradCAM` at that layer up to a constant
    factor.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, 1, D, H, W]`` to class scores ``[B, classes]`` through global average pooling and one
        linear layer, both of which are found by looking at a forward pass.
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum; ``abs`` is the paper's choice.
    align : {"stretch", "receptive_field"}
        How the map is laid over the scan (see `GradCAM`).
    score : {"logit", "probability"}
        ``logit`` takes the target's row of the output layer (the paper); ``probability`` its
        derivative through the softmax, ``p_t (w_t - sum_j p_j w_j)``.
    batch_size : int or "auto"
        Scans per pass; halved when memory runs out.
    progress : bool
        Show a progress bar.

    Attributes
    ----------
    outputs : Tensor
        The model's class scores before softmax of the scans of the last call, ``[B, classes]``.

    Raises
    ------
    ValueError
        If an option is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        rectify: ops.Rectify = "abs",
        *,
        align: Align = "stretch",
        score: Score = "logit",
        batch_size: BatchSize = "auto",
        progress: bool = False,
    ) -> None:
        self.options = MapOptions(score, batch_size, progress, rectify, align)
        self.model = model
        self.outputs = torch.empty(0)
        self._head: GapHead | None = None

    def __call__(self, volume: Tensor, target: Target = None) -> Tensor:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume : Tensor
            ``[B, 1, D, H, W]`` or ``[1, D, H, W]``, on the model's device, of its dtype.
        target : int, str, sequence, or None
            Class to explain, for all scans or one per scan; ``None`` explains the predicted class of
            each scan.

        Returns
        -------
        Tensor
            float32 ``[B, D, H, W]`` on the volume's device.

        Raises
        ------
        TypeError, ValueError
            If the volume or target does not fit, or the model has no such output layer.
        """
        volume = check_volume(volume, self.model)
        forward = Forward(self.model)
        with evaluation_mode(self.model), torch.no_grad():
            if self._head is None:
                self._head = find_gap_head(self.model, forward, volume[:1])
            explain = self._explainer(forward, self._head)
            maps, self.outputs = over_scans(volume, target, explain, self.options)
            return maps

    def _explainer(
        self, forward: Forward, head: GapHead
    ) -> Callable[[Tensor, Target], tuple[Tensor, Tensor]]:
        def explain(scans: Tensor, target: Target) -> tuple[Tensor, Tensor]:
            with capture(self.model, head.layer) as captured:
                outputs = check_outputs(forward(scans), scans.shape[0])
            features = captured.features
            weights = self._weights(head.rows(), outputs, target)
            shape = scans.shape[2:]
            heat = activation_map(self.model, head.layer, features, weights, shape, self.options)
            return heat, outputs

        return explain

    def _weights(self, rows: Tensor, outputs: Tensor, target: Target) -> Tensor:
        classes = resolve_target(target, outputs, self.model)
        if self.options.score == "logit":
            # A single output is the logit of class 1, and its negative that of class 0.
            return (rows if len(rows) > 1 else torch.cat([-rows, rows]))[classes]
        if len(rows) == 1:  # softmax over (0, logit) is the sigmoid
            rows = torch.cat([torch.zeros_like(rows), rows])
        shares = probabilities(outputs)
        return shares.gather(1, classes[:, None]) * (rows[classes] - shares @ rows)
