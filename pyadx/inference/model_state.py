"""Running somebody's model without leaving a trace on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every submodule into evaluation mode, and back as it was, also after an error.

    The mode is restored submodule by submodule: a model may have been mixed on purpose.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def tensor_float(allowed: bool) -> Iterator[None]:
    """Allow TF32 in convolutions and products on CUDA, or not, and leave the setting as it was.

    torch allows it in convolutions unless told otherwise; it keeps ten bits of each factor.
    """
    convolutions = torch.backends.cudnn.allow_tf32
    products = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


class Forward:
    """Calls a model with detached weights, laid out for the device.

    No graph ever leads into the weights, frozen or not, so nothing of the user's model takes
    gradients. On the CPU convolution weights are given in channels-last order, which keeps batches of
    one on oneDNN's fast path; the model's own tensors stay as they are.

    Parameters
    ----------
    model : torch.nn.Module
        Any module that takes one tensor.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._weights: dict[str, Tensor] | None = None
        if not isinstance(model, torch.jit.ScriptModule):
            self._weights = {name: _laid_out(p) for name, p in model.named_parameters()}

    def __call__(self, x: Tensor) -> Tensor:
        """Run the model on ``x``."""
        if self._weights is None:
            return self.model(x)
        return torch.func.functional_call(self.model, self._weights, (x,))


def _laid_out(parameter: Tensor) -> Tensor:
    weight = parameter.detach()
    if weight.dim() == 5 and weight.device.type == "cpu":
        return weight.contiguous(memory_format=torch.channels_last_3d)
    return weight
