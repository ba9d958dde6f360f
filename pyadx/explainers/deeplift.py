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

_NODES = 256  # of the sum that spreads the score's change over the classes' scores
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
    """DeepLIFT: differences from a baseline's activations, handed back from layer to layer.

    Every activation hands back the ratio of its output's to its input's difference in place of its
    derivative (rescale rule), so the map adds up to ``s(V) - s(R)``. The report states the gap, and a call
    warns above 5%. Captum does the work (``pip install 'pyadx[gradients]'``). It sees activations and max
    poolings that are modules of torch, each used once: others are derived as they are, and leave a gap.

    What makes the score of the classes' scores before softmax is no layer: its change is spread over them
    by integrated gradients, which a difference of two logits (log-odds of two classes) needs no rule for.

    Parameters
    ----------
    model, baseline, signed, smoothing, score, outputs, output, batch_size, progress, spacing
        As in `pyadx.explainers.gradient_base.GradientMethod`. ``batch_size`` has no effect: a scan and its
        baseline run together, and nothing else.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range, or Captum is not installed.
    """

    _captum = "DeepLift"

    @property
    def _advice(self) -> str:
        return (
            "DeepLIFT follows activations and poolings that are modules of torch, each used once: give the "
            "network such modules, or take integratedgradients"
        )

    def _attribute(self, score: ClassGradient, scan: Tensor, baseline: Tensor | None) -> tuple[Tensor, int]:
        assert baseline is not None
        network = score.forward.model
        reason = why_unwatched(inside_of(network))
        if reason is not None:
            raise ValueError(f"DeepLIFT cannot follow this network: {reason}")
        score.copies.look(scan)
        if score.copies.dependence is not None:
            raise ValueError(
                "DeepLIFT runs a scan and its baseline side by side, and this network's class scores of a "
                "scan depend on what lies beside it; take integratedgradients"
            )
        pair = torch.stack([scan, baseline])
        outputs, ends = _with_ends(network, lambda: score.forward(pair.clone()))
        logits = self._run.reading.again(outputs, 2)
        # Below eps a difference counts as none; half precision has no 1e-10.
        eps = max(1e-10, torch.finfo(scan.dtype).tiny)
        followed = _Followed(score, _shares(score, logits))
        rule = captum_attribution("deeplift", "DeepLift")(followed, eps=eps)
        left = ends if self.outputs == "probabilities" else []
        with _left_alone(left), _apart(network), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
            try:
                return rule.attribute(scan[None].detach().requires_grad_(), baseline[None])[0], 2
            except RuntimeError as error:
                if "doesn't require grad" in str(error):
                    raise independent() from None
                if "used more than once" not in str(error):
                    raise
                raise ValueError(
                    "DeepLIFT needs activations and poolings that are used once each, and the network uses "
                    "one again; give every place a module of its own, or take integratedgradients"
                ) from None


class _Followed(nn.Module):
    """What Captum follows: the classes' scores, each times its share in the score's change."""

    def __init__(self, score: ClassGradient, shares: Tensor) -> None:
        super().__init__()
        self.network = score.forward.model  # Captum looks for activations in the modules below
        self._score, self._shares = score, shares

    def forward(self, scans: Tensor) -> Tensor:
        """Map ``[N, C, D, H, W]`` to ``[N]``."""
        logits = self._score.logits(scans)
        return differentiable((logits * self._shares.to(logits.dtype)).sum(1), scans)


def _shares(score: ClassGradient, logits: Tensor) -> Tensor:
    """Return the mean derivative of the score by each class's, from the baseline's to the scan's.

    ``shares @ (logits[0] - logits[1])`` is the score's change; float64 ``[classes]``.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    at = torch.from_numpy((nodes + 1) / 2).to(logits.device)[:, None]
    scan, baseline = logits.detach().double()
    with torch.enable_grad():
        path = (baseline + at * (scan - baseline)).requires_grad_()
        (slopes,) = torch.autograd.grad(score.of_logits(path).sum(), path)
    return torch.from_numpy(weights / 2).to(slopes.device) @ slopes


def _with_ends(network: nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, list[nn.Module]]:
    """Return the network's outputs, and the sigmoid or softmax that gave them if it is a module."""
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
def _left_alone(layers: list[nn.Module]) -> Iterator[None]:
    """Have Captum derive layers as they are: it leaves those alone that have a backward hook.

    A sigmoid or softmax at the end is undone by the logarithm behind it: derived as they are, the two
    cancel; by Captum's rules they do not.
    """
    hooks = [layer.register_full_backward_hook(lambda *_: None) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _apart(network: nn.Module) -> Iterator[None]:
    """Give every layer that has a rule a copy of its input.

    Captum reads what is handed back to a layer at the layer's output, and writes what it hands back itself
    at its input. Where one layer's output is the next one's input (max pooling behind a ReLU), that is the
    same tensor, and the reading comes first: the pooling's rule would be lost. Hooks that were there before
    Captum's run before them.
    """
    layers = [layer for layer in network.modules() if type(layer) in _RULES]
    hooks = [layer.register_forward_pre_hook(lambda _, given: given[0].clone()) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
