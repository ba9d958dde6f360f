"""A user's model in the form that every engine runs: scans in, one tensor of class scores out."""

from typing import Any

from torch import Tensor, nn

from pyadx.inference.forward_arguments import ForwardArguments
from pyadx.inference.outputs import Output, chosen_output
from pyadx.inference.wrappers import unwrapped

_NAME = "inside"


class Adapted(nn.Module):
    """Passes a model its further arguments, and picks the class scores from what it returns.

    Full forwards, traces, hooks and gradients all use this module, so none of them has to know what the
    model returns. The model itself is not changed.

    Parameters
    ----------
    model : torch.nn.Module
        The user's model. Wrappers for training or compiling are removed (`unwrapped`).
    output : str, int or None
        Which of several outputs holds the class scores (`pyadx.inference.outputs`).
    arguments : ForwardArguments, optional
        The model's arguments besides the scans. They may be replaced from scan to scan.
    """

    def __init__(
        self, model: nn.Module, output: Output = None, arguments: ForwardArguments | None = None
    ) -> None:
        super().__init__()
        self.training = False  # of this module only: the user's model keeps its own mode
        self.inside = unwrapped(model)
        self.output = output
        self.arguments = arguments

    def forward(self, scans: Tensor) -> Tensor:
        """Map ``[B, C, D, H, W]`` to ``[B, classes]``; a model that returns ``[B]`` gives ``[B, 1]``."""
        found = chosen_output(self._returned(scans), self.output)
        single = found.dim() == 1 and found.shape[0] == scans.shape[0]
        if single or (found.dim() == 0 and scans.shape[0] == 1):  # squeeze() drops the axis of one scan
            # reshape works for both: a graph that was traced on several scans, which keep their axis, must
            # also run on one scan.
            return found.reshape(scans.shape[0], 1)
        return found

    def _returned(self, scans: Tensor) -> object:
        if not self.arguments:
            return self.inside(scans)
        positional, named = self.arguments.for_scans(scans)
        return self.inside(scans, *positional, **named)

    @property
    def key(self) -> tuple[Any, ...]:
        """What determines the module's code and constants; identifies a cached trace of it."""
        return self.inside, self.output, "" if self.arguments is None else self.arguments.digest()


def kept_as(model: nn.Module) -> Any:
    """Return a key that identifies a model in a cache that lasts from call to call."""
    return model.key if isinstance(model, Adapted) else model


def inside_of(model: nn.Module) -> nn.Module:
    """Return the model that was adapted, or the model itself."""
    return model.inside if isinstance(model, Adapted) else model


def own_name(layer: str) -> str:
    """Return a layer's name in the user's model, from its name in `Adapted`; empty for the model itself."""
    return "" if layer == _NAME else layer.removeprefix(f"{_NAME}.")
