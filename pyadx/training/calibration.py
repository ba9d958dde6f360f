"""Probabilities that mean what they say: temperature and bias, fitted on subjects that were held out."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

_LEAST = 0.01  # of a temperature


@dataclass(frozen=True)
class Calibration:
    """How class scores are brought to calibrated ones: ``logits / temperature + bias``.

    Attributes
    ----------
    temperature : float
        Above 1 where the network was too sure.
    bias : tuple of float
        One per class; they sum to 0.
    subjects : int
        How many subjects it was fitted on.
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
        Class scores before softmax of subjects that the network was not trained on, ``[N, classes]``.
    labels : numpy.ndarray
        Class indices ``[N]``.

    Returns
    -------
    Calibration
        The most likely one. Where the scores separate the classes, likelihood grows without end as the
        temperature falls; the fit stops where that hardly matters any more, at 0.01 at the latest.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or one has no subject.
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
        # The bias has one direction that softmax does not see; a hair of weight decay keeps it at 0.
        value = nn.functional.cross_entropy(given, truth) + 1e-9 * shift.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    slope = float(factor.detach())
    if slope <= 0:
        raise ValueError("the scores speak for the wrong class: calibration would turn the network round")
    bias = (shift - shift.mean()).detach().tolist()
    return Calibration(1 / min(slope, 1 / _LEAST), tuple(bias), len(truth))


@torch.no_grad()
def apply_calibration(model: nn.Module, calibration: Calibration) -> None:
    """Put a calibration into a network's last linear layer, so that everything that uses it has it.

    Parameters
    ----------
    model : torch.nn.Module
        Ends in a linear layer with a bias, one output per class; changed in place.
    calibration : Calibration
        From `fit_calibration` on this network's class scores.

    Raises
    ------
    ValueError
        If the network has no such layer.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].bias is None or linear[-1].out_features != len(calibration.bias):
        raise ValueError("the network does not end in a linear layer with a bias and one output per class")
    last = linear[-1]
    last.weight.div_(calibration.temperature)
    last.bias.div_(calibration.temperature).add_(torch.tensor(calibration.bias).to(last.bias))
