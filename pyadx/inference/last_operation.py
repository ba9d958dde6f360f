"""Which sigmoid or softmax a model ends in, if it ends in one."""

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
_MOST_VALUES = 4096  # class scores are few; gates over whole maps are not looked at


def last_squashing(model: nn.Module, run: Callable[[Tensor], Any], scan: Tensor) -> str | None:
    """Run a scan once more and say where its outputs come out of a sigmoid or softmax.

    Outputs are compared by value with what every such operation gave, so that a gate inside the network
    does not count, and no naming or structure is assumed.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode; it is run by ``run``.
    run : callable
        How to run it.
    scan : Tensor
        ``[1, C, D, H, W]``.

    Returns
    -------
    str or None
        Such as ``"layer 'act' (Sigmoid)"``; None where the outputs are those of another operation, or the
        model does not run under observation.
    """
    observer = _Observer()
    try:
        with torch.no_grad(), _module_names(model, observer.inside), observer:
            outputs = run(scan.clone())
    except Exception:  # the model has run before: what fails is the watching, which nothing hangs on
        return None
    values = outputs.detach().flatten().double()
    for place, found in reversed(observer.found):
        if torch.isin(values, found).all():
            return place
    return None


class _Observer(TorchDispatchMode):
    """Keeps what sigmoids and softmaxes gave, and in which layer they ran."""

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
        own = isinstance(getattr(nn, kind, None), type)  # one of torch's own layers is the operation
        if name and own:
            return f"layer {name!r} ({kind})"
        return f"a {operation} in layer {name!r} ({kind})" if name else f"a {operation} at its end"


@contextmanager
def _module_names(model: nn.Module, inside: list[tuple[str, str]]) -> Iterator[None]:
    """Keep the names and types of the layers that are running in ``inside``."""
    handles = []
    try:
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes hooks on some platforms only, and inside of it none run
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
