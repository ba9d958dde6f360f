"""Somebody's model as every engine runs it: scans in, one tensor of class scores out."""

from typing import Any

from torch import Tensor, nn

from pyadx.inference.forward_arguments import ForwardArguments
from pyadx.inference.outputs import Output, chosen_output
from pyadx.inference.wrappers import unwrapped

_NAME = "inside"


class Adapted(nn.Module):
    """Gives a model what it takes besides scans, and takes the class scores from what it returns.

    Full forwards, traces, hooks and gradients see the same module, so that none of them has to know
    what a model returns. The model itself is not changed.

    Parameters
    ----------
    model : torch.nn.Module
        Somebody's model; of a wrapped one the inside is run.
    output : str, int or None
        Which of several outputs holds the class scores (`pyadx.inference.outputs`).
    arguments : ForwardArguments, optional
        What it takes besides scans. It may be replaced from scan to scan.
    """

    def __init__(
        self, model: nn.Module, output: Output = None, arguments: ForwardArguments | None = None
    ) -> None:
        super().__init__()
        self.training = False  # of this module alone: the model's own mode is not ours to set
        self.inside = unwrapped(model)
        self.output = output
        self.arguments = arguments

    def forward(self, scans: Tensor) -> Tensor:
        """Map ``[B, C, D, H, W]`` to ``[B, classes]``, of one number per scan ``[B, 1]``."""
        found = chosen_output(self._returned(scans), self.output)
        single = found.dim() == 1 and found.shape[0] == scans.shape[0]
        if single or (found.dim() == 0 and scans.shape[0] == 1):  # as squeeze() leaves one scan
            # No unsqueeze: a trace of several scans, whose batch has an axis here, is run on one, too.
            return found.reshape(scans.shape[0], 1)
        return found

    def _returned(self, scans: Tensor) -> object:
        if not self.arguments:
            return self.inside(scans)
        positional, named = self.arguments.beside(scans)
        return self.inside(scans, *positional, **named)

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides the module's code and constants, for whoever keeps a trace of it."""
        return self.inside, self.output, "" if self.arguments is None else self.arguments.digest()


def kept_as(model: nn.Module) -> Any:
    """Return what tells models apart for whoever keeps something about them from call to call."""
    return model.key if isinstance(model, Adapted) else model


def inside_of(model: nn.Module) -> nn.Module:
    """Return the model that was adapted, or the model itself."""
    return model.inside if isinstance(model, Adapted) else model


def own_name(layer: str) -> str:
    """Return the name that a layer of an adapted model has in the model; empty for the model itself."""
    return "" if layer == _NAME else layer.removeprefix(f"{_NAME}.")
