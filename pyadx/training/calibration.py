"""Calibration of class probabilities by a temperature and a bias, fitted on held-out subjects."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.inference.model_state import evaluation_mode

_LEAST = 0.01  # lowest temperature


@dataclass(frozen=True)
class Calibration:
    """Temperature and bias that turn logits into calibrated ones: ``logits / temperature + bias``.

    Attributes
    ----------
    temperature : float
        Above 1 if the network was overconfident.
    bias : tuple of float
        One number per class; they sum to 0.
    subjects : int
        Number of subjects in the fit.
    """

    temperature: float
    bias: tuple[float, ...]
    subjects: int

    def facts(self) -> dict[str, object]:
        """Return plain data for a model card."""
        return {**asdict(self), "bias": list(self.bias)}


def fit_calibration(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fit temperature and bias by maximum likelihood (Guo et al., ICML 2017; the bias is Platt's).

    Parameters
    ----------
    logits : numpy.ndarray
        ``[N, classes]``, of subjects that the network was not trained on.
    labels : numpy.ndarray
        True classes, int ``[N]``.

    Returns
    -------
    Calibration
        The maximum-likelihood fit. If the logits separate the classes perfectly, the likelihood grows
        without limit as the temperature falls. The fit then stops when the gain becomes negligible; the
        temperature is never below 0.01.

    Raises
    ------
    ValueError
        If the shapes do not fit, there are fewer than two classes, a class has no subject, or the logits
        point to the wrong class.
    """
    scores = torch.from_numpy(np.asarray(logits, np.float64))
    truth = torch.from_numpy(np.asarray(labels, np.int64))
    if scores.dim() != 2 or scores.shape[1] < 2 or len(scores) != len(truth):
        raise ValueError(f"calibration needs logits [N, classes] of N subjects, got {tuple(scores.shape)}")
    missing = sorted(set(range(scores.shape[1])) - set(truth.tolist()))
    if missing:
        raise ValueError(f"calibration needs subjects of every class; none has class {missing[0]}")
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(scores.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([factor, shift], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        given = scores * factor.clamp(max=1 / _LEAST) + shift
        # Softmax ignores a constant added to all biases; a tiny weight decay keeps that constant at 0.
        value = nn.functional.cross_entropy(given, truth) + 1e-9 * shift.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    slope = float(factor.detach())
    if slope <= 0:
        raise ValueError(
            f"the logits point to the wrong class (fitted slope {slope:.3g}, expected above 0): "
            "calibration would reverse the network's predictions; check the order of the classes"
        )
    bias = (shift - shift.mean()).detach().tolist()
    return Calibration(1 / min(slope, 1 / _LEAST), tuple(bias), len(truth))


@torch.no_grad()
def apply_calibration(model: nn.Module, calibration: Calibration, scan: Tensor) -> None:
    """Fold a calibration into the weights of a network's last linear layer.

    Its outputs are calibrated logits from then on, for every use of the network.

    Parameters
    ----------
    model : torch.nn.Module
        Network that ends in a linear layer with a bias and one output per class; changed in place.
    calibration : Calibration
        From `fit_calibration` on this network's logits.
    scan : Tensor
        ``[1, C, D, H, W]``: the network is run on it before and afterwards, in evaluation mode.

    Raises
    ------
    ValueError
        If the last linear layer has no bias or another number of outputs, or there is none, or its
        outputs are not the network's. The network is unchanged then.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].bias is None or linear[-1].out_features != len(calibration.bias):
        raise ValueError(
            "calibration needs a network whose last linear layer has a bias and one output for each of "
            f"{len(calibration.bias)} classes"
        )
    last, bias = linear[-1], torch.tensor(calibration.bias).to(linear[-1].bias)
    kept = last.weight.clone(), last.bias.clone()
    with evaluation_mode(model):
        expected = model(scan) / calibration.temperature + bias
        last.weight.div_(calibration.temperature)
        last.bias.div_(calibration.temperature).add_(bias)
        found = model(scan)
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        last.weight.copy_(kept[0])
        last.bias.copy_(kept[1])
        raise ValueError(
            "calibration needs a network that returns the outputs of its last linear layer; the outputs of "
            "this one come from elsewhere"
        )
