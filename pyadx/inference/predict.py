"""Class probabilities of a scan."""

import torch
from torch import Tensor, nn

from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.score import check_outputs, probabilities


def class_probabilities(model: nn.Module, volume: Tensor) -> Tensor:
    """Return the probability of every class.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores; run in evaluation mode and left as it was found.
    volume : Tensor
        ``[B, C, D, H, W]``.

    Returns
    -------
    Tensor
        ``[B, classes]``; two columns for a model with one output.
    """
    with evaluation_mode(model), torch.no_grad():
        outputs = check_outputs(Forward(model)(volume), volume.shape[0])
    return probabilities(outputs)
