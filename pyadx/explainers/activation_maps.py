"""Base of the CAM family: a weighted sum of a layer's feature maps is resampled to the scan."""

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.alignment import Placement, activation_map
from pyadx.explainers.base import Explainer, Explanation, SinglePass
from pyadx.explainers.batches import over_scans
from pyadx.explainers.options import MapOptions
from pyadx.explainers.volumes import check_volume
from pyadx.inference.adapted import Adapted
from pyadx.inference.capture import capture
from pyadx.inference.forward_arguments import ForwardArguments
from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.outputs import Output, output_of
from pyadx.inference.reading import followed_score
from pyadx.inference.score import Target, resolve_target
from pyadx.inference.watch import OutputWatch
from pyadx.inference.wrappers import unwrapped


class ActivationMaps(Explainer):
    """Methods whose map is a sum over the feature maps of a layer.

    Subclasses choose the layers, and what is summed.

    Parameters
    ----------
    model : torch.nn.Module
        As in `GradCAM`.
    options : MapOptions
        How the method runs, and how the sum becomes a heatmap.
    keep_trace, output
        As in `GradCAM`.
    """

    # Whether the method needs the gradient of the class score with respect to the feature maps.
    differentiable = False

    def __init__(
        self, model: nn.Module, options: MapOptions, keep_trace: bool, output: Output = None
    ) -> None:
        self.model = model
        self._network = unwrapped(model)
        self._run = options = replace(options, score=followed_score(model, options.score))
        self.output = output_of(model, output)
        self.rectify, self.align = options.rectify, options.align
        self.score, self.outputs = options.score, options.outputs
        self.keep_trace = keep_trace
        self._placement = Placement(options.align)

    def run(
        self, volume: Tensor | np.ndarray, target: Target = None, *, forward_args: Any = None
    ) -> Explanation:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume : Tensor or numpy.ndarray
            ``[B, C, D, H, W]`` or ``[C, D, H, W]``. Floating-point tensors must have the model's device and
            dtype. Arrays and integer tensors are converted.
        target : int, str, sequence, array or None
            Class to explain, for all scans or one per scan. ``None`` takes the predicted class of each
            scan.
        forward_args : mapping, sequence or Tensor, optional
            Further inputs of the model (`pyadx.inference.forward_arguments`).

        Returns
        -------
        Explanation
            With a `pyadx.explainers.base.SinglePass` report per scan. The heatmap is ``[B, D, H, W]``, or
            ``[B, L, D, H, W]`` for L > 1 layers.

        Raises
        ------
        TypeError, ValueError
            If the volume or target does not fit, or the model has no layer that the method can use.
        """
        with torch.inference_mode(False):
            volume = check_volume(volume, self.model)
            if not self.keep_trace:
                self._placement = Placement(self.align)
            network = Adapted(self.model, self.output, ForwardArguments(forward_args, volume))
            forward = Forward(network)
            with evaluation_mode(self.model), torch.no_grad():
                layers = self._layers(forward, volume)
                with forward.rows(0, 1):
                    for layer in layers:  # now: while layers are being captured, the model cannot be traced
                        self._placement.trace(network, layer, volume[0])
                found = [
                    over_scans(volume, target, partial(self._explain, forward, layer), self._run, forward)
                    for layer in layers
                ]
                maps, outputs = found[0]
                if len(layers) > 1:
                    maps = torch.stack([heat for heat, _ in found], 1)
                targets = resolve_target(target, outputs, self.model, self.score)
                return self._explanation(maps, outputs, targets, (SinglePass(len(layers)),) * len(maps))

    @abstractmethod
    def _layers(self, forward: Forward, volume: Tensor) -> tuple[str, ...]:
        """Return the names of the layers; the heatmap has one map for each."""

    @abstractmethod
    def _summands(
        self, features: Tensor, outputs: Tensor, classes: Tensor, layer: str
    ) -> tuple[Tensor, Tensor]:
        """Return maps ``[B, K, d, h, w]`` and weights ``[B, K]``; the method's map is their weighted sum.

        If the method is differentiable, autograd records operations on ``features`` during this call.
        """

    def _explain(
        self, forward: Forward, layer: str, scans: Tensor, target: Target, watch: OutputWatch
    ) -> tuple[Tensor, Tensor]:
        with capture(self._network, layer, differentiable=self.differentiable) as captured:
            seen = self._run.reading.look(forward(scans), scans.shape[0], target, self.model)
            maps, weights = self._summands(captured.features, seen.logits, seen.target, layer)
        watch.begin(seen, self._network, forward, scans[:1])
        heat = activation_map(self._placement, forward.model, layer, maps, weights, scans, self._run)
        return heat, seen.logits.detach()
