"""Find the sigmoid or softmax that a model ends in, if there is one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_SQUASHING = {
    aten.sigmoid.default: "sigmoid", aten.sigmoid_.default: "sigmoid",
    aten._softmax.default: "softmax", aten._log_softmax.default: "log-softmax",
    aten.log_sigmoid_forward.default: "log-sigmoid", aten.hardsigmoid.default: "hard sigmoid",
    aten.hardsigmoid_.default: "hard sigmoid",
}  # fmt: skip
_MOST_VALUES = 4096  # larger results are gates inside the network, not class scores


def last_squashing(model: nn.Module, run: Callable[[Tensor], Any], scan: Tensor) -> str | None:
    """Run a scan once more, and name the sigmoid or softmax that its outputs come from.

    Outputs are compared by value with the results of each such operation. A gate inside the network
    therefore does not count, and names and structure of the model do not matter.

    Parameters
    ----------
    model : torch.nn.Module
        The model that ``run`` runs, in evaluation mode.
    run : callable
        Runs the model on a scan and returns its outputs.
    scan : Tensor
        ``[1, C, D, H, W]``.

    Returns
    -------
    str or None
        For example ``"layer 'act' (Sigmoid)"``. None if the outputs come from another operation, or if the
        model does not run while it is observed.
    """
    observer = _Observer()
    try:
        with torch.no_grad(), _module_names(model, observer.inside), observer:
            outputs = run(scan.clone())
    except Exception:  # the model ran before, so it is the observing that failed; the result is optional
        return None
    values = outputs.detach().flatten().double()
    for place, found in reversed(observer.found):
        if torch.isin(values, found).all():
            return place
    return None


class _Observer(TorchDispatchMode):
    """Records the results of sigmoids and softmaxes, and the layer in which each ran."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[tuple[str, str]] = []
        self.found: list[tuple[str, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _SQUASHING:
            values = result[0] if isinstance(result, tuple) else result
            if values.numel() <= _MOST_VALUES:
                self.found.append((self._place(_SQUASHING[func]), values.detach().flatten().double()))
        return result

    def _place(self, operation: str) -> str:
        name, kind = self.inside[-1] if self.inside else ("", "")
        own = isinstance(getattr(nn, kind, None), type)  # a layer of torch.nn is the operation itself
        if name and own:
            return f"layer {name!r} ({kind})"
        return f"a {operation} in layer {name!r} ({kind})" if name else f"a {operation} at its end"


@contextmanager
def _module_names(model: nn.Module, inside: list[tuple[str, str]]) -> Iterator[None]:
    """Keep ``inside`` filled with the names and types of the layers that are running, innermost last."""
    handles = []
    try:
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # accepts hooks on some platforms only, and runs none inside
            entry = (name, type(module).__name__)

            def enter(module: nn.Module, args: Any, entry: tuple[str, str] = entry) -> None:
                inside.append(entry)

            def leave(module: nn.Module, args: Any, output: Any) -> None:
                inside.pop()

            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()
