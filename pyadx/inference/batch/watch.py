"""Follow the scans of a batch through a forward pass while it runs."""

import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from pyadx.inference.adapted import inside_of
from pyadx.inference.batch.axis import ALL_APART, SIZE, Entangled, Operand, State
from pyadx.inference.batch.rules import after
from pyadx.inference.model_state import Forward

# Path prefixes of code that is not the user's: torch, pyadx, and code that is generated at run time.
FOREIGN = str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), "<"


_ARITHMETIC = {
    torch.ops.aten.mul.Tensor, torch.ops.aten.div.Tensor, torch.ops.aten.add.Tensor,
    torch.ops.aten.sub.Tensor, torch.ops.aten.mul_.Tensor, torch.ops.aten.div_.Tensor,
    torch.ops.aten.add_.Tensor, torch.ops.aten.sub_.Tensor, torch.ops.aten.rsub.Scalar,
}  # fmt: skip


class Watch(TorchDispatchMode):
    """Follows the scans of a batch through a forward pass while it runs, without another pass.

    Enter it around code that runs the model on a batch of two scans or more.

    Attributes
    ----------
    state : State
        Where the scans are in the class scores; None if the model has not returned any.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._states = WeakIdKeyDictionary()
        self._handles: list[Any] = []
        self._within = False
        self._escapes = _Escapes(self)
        self._lost: Entangled | None = None
        self._scans = 0
        self.state: State = None

    def __enter__(self) -> "Watch":
        """Start to follow."""
        if not isinstance(self._model, torch.jit.ScriptModule):
            self._handles = [
                self._model.register_forward_pre_hook(self._begin),
                self._model.register_forward_hook(self._end),
            ]
        self._escapes.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """Remove the hooks from the model."""
        super().__exit__(*error)
        self._escapes.__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, args: Any) -> None:
        self._within = bool(args) and isinstance(args[0], Tensor) and len(args[0]) > 1
        if self._within:  # a single scan cannot show a dependence
            self._lost, self.state = None, None
            self._states = WeakIdKeyDictionary()
            self._states[args[0]] = ALL_APART
            self._scans = len(args[0])

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._within:
            return
        self._within = False
        own = self._states.get(output) if isinstance(output, Tensor) else None
        certain = isinstance(own, Entangled) and own.certain
        self.state = own if certain or self._lost is None else self._lost

    def lose(self) -> None:
        """Record that values of scans are used where they cannot be followed."""
        if self._within and self._lost is None:
            self._lost = Entangled(False, _place_in_run(inside_of(self._model)))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Run an operation, and derive where the scans are in its results."""
        kwargs = kwargs or {}
        if not self._within:
            return function(*args, **kwargs)
        known = _as_operands((args, kwargs), self._states)  # before the operation can change them in place
        if function in _ARITHMETIC:
            # A number equal to the number of scans may have been computed from it, or may be a coincidence.
            known[0] = [SIZE if _is_number(value, self._scans) else value for value in known[0]]
        results = function(*args, **kwargs)
        tensors = list(results) if isinstance(results, list | tuple) else [results]
        shapes = [tuple(r.shape) if isinstance(r, Tensor) else () for r in tensors]
        for tensor, state in zip(tensors, after(function, *known, shapes, None), strict=True):
            if isinstance(state, Entangled) and state.where is None:
                state = Entangled(state.certain, _place_in_run(inside_of(self._model)))
            if isinstance(tensor, Tensor):
                self._states[tensor] = state
            elif state is not None:
                self.lose()  # the code read a plain number from the scans
        if function._schema.is_mutable and isinstance(args[0], Tensor) and _is_part(args[0]):
            self.lose()  # writing to a view also changes the tensor that it belongs to
        return results


class _Escapes(TorchFunctionMode):
    """Tells a `Watch` when values leave torch, for example as a NumPy array."""

    _ways = frozenset(
        {Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.data_ptr, Tensor.untyped_storage,
         Tensor.__dlpack__}
    )  # fmt: skip

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if function in self._ways:
            self._watch.lose()
        return function(*args, **(kwargs or {}))


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == number


def _is_part(tensor: Tensor) -> bool:
    return tensor._is_view() or tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()


def _as_operands(value: Any, states: Any) -> Any:
    if isinstance(value, Tensor):
        return Operand(tuple(value.shape), states.get(value))
    if isinstance(value, list | tuple):
        return [_as_operands(one, states) for one in value]
    if isinstance(value, dict):
        return {key: _as_operands(one, states) for key, one in value.items()}
    return value


def _place_in_run(model: nn.Module) -> str:
    """Return the layer that is running, and the line of the user's code that runs it, as text."""
    names = {id(module): name for name, module in model.named_modules()}
    layer = code = ""
    frame = sys._getframe(1)
    while frame is not None and not (layer and code):
        own = frame.f_locals.get("self")
        if isinstance(own, nn.Module) and id(own) in names and not layer:
            layer = (
                f"layer {names[id(own)]!r}, {type(own).__name__}" if names[id(own)] else type(own).__name__
            )
        if frame.f_code is Forward.__call__.__code__:
            break
        if not frame.f_code.co_filename.startswith(FOREIGN) and not code:
            (line,) = traceback.StackSummary.extract([(frame, frame.f_lineno)])
            code = code_line(line.filename, line.lineno, line.line)
        frame = frame.f_back  # type: ignore[assignment]
    return ", at ".join(part for part in (layer, code) if part)


def code_line(file: str, number: int | None, text: str | None) -> str:
    """Return a line of code with its file name and line number: ``model.py:12: x = x.mean(0)``."""
    return f"{Path(file).name}:{number}: {(text or '').strip()[:120]}"
