"""DeepLIFT with the rescale rule (Shrikumar et al., 2017), by Captum."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.class_gradient import ClassGradient, captum_attribution, differentiable, independent
from pyadx.explainers.gradient_base import GradientMethod
from pyadx.explainers.registry import method
from pyadx.inference.adapted import inside_of
from pyadx.inference.capture import why_unwatched

_NODES = 256  # nodes of the sum that divides the score's change among the logits
_RULES = (
    nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
)  # fmt: skip


@method(
    "deeplift",
    title="DeepLIFT",
    answers="How much does each voxel's difference from a baseline add to the class score, layer by layer?",
    cost="one forward and one backward pass, of scan and baseline together",
)
class DeepLift(GradientMethod):
    """DeepLIFT: differences from the activations of a baseline, propagated back layer by layer.

    In the backward pass the derivative of every activation is replaced by the difference of its output
    divided by the difference of its input (rescale rule). The map then adds up to ``s(V) - s(R)``, the
    change of the score from the baseline ``R`` to the scan ``V``. The report states the completeness gap,
    and a call warns if it is above 5%. The map is computed by Captum
    (``pip install 'pyadx[gradients]'``), which handles activations and max poolings that are torch modules,
    each used once. Others are differentiated as usual, which leaves a gap.

    The step from the logits to the score is not a layer. The score's change is divided among the logits by
    integrated gradients. For the log-odds of two classes, a difference of two logits, this is exact.

    Parameters
    ----------
    model, baseline, signed, smoothing, score, outputs, output, batch_size, progress, spacing
        As in `pyadx.explainers.gradient_base.GradientMethod`. ``batch_size`` has no effect, since each scan
        runs together with its baseline and nothing else.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range, or Captum is not installed.
    """

    _captum = "DeepLift"

    @property
    def _advice(self) -> str:
        return (
            "DeepLIFT needs activations and poolings that are modules of torch, each used once: give the "
            "network such modules, or use integratedgradients"
        )

    def _attribute(self, score: ClassGradient, scan: Tensor, baseline: Tensor | None) -> tuple[Tensor, int]:
        assert baseline is not None
        network = score.forward.model
        reason = why_unwatched(inside_of(network))
        if reason is not None:
            raise ValueError(f"DeepLIFT cannot watch the layers of this network: {reason}")
        score.copies.look(scan)
        if score.copies.dependence is not None:
            raise ValueError(
                "DeepLIFT runs a scan and its baseline side by side, but this network's class scores of a "
                "scan depend on the other scans of its batch; use integratedgradients"
            )
        pair = torch.stack([scan, baseline])
        outputs, ends = _with_final_activations(network, lambda: score.forward(pair.clone()))
        logits = self._run.reading.again(outputs, 2)
        # Captum treats differences below eps as 0. The default 1e-10 is 0 in half precision.
        eps = max(1e-10, torch.finfo(scan.dtype).tiny)
        followed = _WeightedLogits(score, _shares(score, logits))
        rule = captum_attribution("deeplift", "DeepLift")(followed, eps=eps)
        left = ends if self.outputs == "probabilities" else []
        with _without_rule(left), _with_copied_inputs(network), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
            try:
                return rule.attribute(scan[None].detach().requires_grad_(), baseline[None])[0], 2
            except RuntimeError as error:
                if "doesn't require grad" in str(error):
                    raise independent() from None
                if "used more than once" not in str(error):
                    raise
                raise ValueError(
                    "DeepLIFT needs activations and poolings that are used once each, but the network uses "
                    "one again; give each use a module of its own, or use integratedgradients"
                ) from None


class _WeightedLogits(nn.Module):
    """The network that Captum explains: the sum of the logits, each weighted by its share."""

    def __init__(self, score: ClassGradient, shares: Tensor) -> None:
        super().__init__()
        self.network = score.forward.model  # Captum looks for activations in the submodules
        self._score, self._shares = score, shares

    def forward(self, scans: Tensor) -> Tensor:
        """Map ``[N, C, D, H, W]`` to ``[N]``."""
        logits = self._score.logits(scans)
        return differentiable((logits * self._shares.to(logits.dtype)).sum(1), scans)


def _shares(score: ClassGradient, logits: Tensor) -> Tensor:
    """Return the derivative of the score by each logit, averaged over the path from baseline to scan.

    The result is float64 ``[classes]``. ``shares @ (logits[0] - logits[1])`` is the score's change, where
    ``logits`` holds those of the scan and of the baseline.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    at = torch.from_numpy((nodes + 1) / 2).to(logits.device)[:, None]
    scan, baseline = logits.detach().double()
    with torch.enable_grad():
        path = (baseline + at * (scan - baseline)).requires_grad_()
        (slopes,) = torch.autograd.grad(score.of_logits(path).sum(), path)
    return torch.from_numpy(weights / 2).to(slopes.device) @ slopes


def _with_final_activations(
    network: nn.Module, run: Callable[[], Tensor]
) -> tuple[Tensor, list[nn.Module]]:
    """Return the network's outputs, and the sigmoid or softmax modules that computed them, if any."""
    given: list[tuple[nn.Module, Tensor]] = []
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Sigmoid | nn.Softmax)]
    hooks = [layer.register_forward_hook(lambda m, _, out: given.append((m, out))) for layer in layers]
    try:
        with torch.no_grad():
            outputs = run()
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, [layer for layer, own in given if own.data_ptr() == outputs.data_ptr()]


@contextmanager
def _without_rule(layers: list[nn.Module]) -> Iterator[None]:
    """Make Captum use the plain derivatives of some layers.

    The logits are the logarithm of a final sigmoid or softmax. The plain derivatives of the two cancel, but
    with Captum's rules they do not. Captum skips layers that have a backward hook, so each gets one.
    """
    hooks = [layer.register_full_backward_hook(lambda *_: None) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _with_copied_inputs(network: nn.Module) -> Iterator[None]:
    """Give every layer that has a rule a copy of its input.

    Captum reads a layer's gradient at its output, and writes the changed gradient at its input. If the
    input is the output of another layer with a rule (max pooling right after a ReLU), both are the same
    tensor, and the ReLU reads its gradient before the pooling has changed it: the pooling's rule would be
    lost. The hooks are registered before Captum's, so they run first.
    """
    layers = [layer for layer in network.modules() if type(layer) in _RULES]
    hooks = [layer.register_forward_pre_hook(lambda _, given: given[0].clone()) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
