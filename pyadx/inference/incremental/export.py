"""From somebody's model to a program of ``torch.export``, for any number of scans."""

import io
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import Dim, ExportedProgram

from pyadx.inference.batch.watch import FOREIGN, code_line
from pyadx.inference.errors import UntraceableError
from pyadx.inference.outputs import OutputError

_HIDDEN = ("Constraints violated", "fake tensor")  # what torch says there


def exported(
    model: nn.Module,
    volume: Tensor,
    plain: Callable[[ExportedProgram], ExportedProgram] = lambda program: program,
) -> ExportedProgram:
    """Export a model in evaluation mode, for any batch size.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode; TorchScript inside it is frozen meanwhile.
    volume : Tensor
        ``[C, D, H, W]``; only its shape, dtype and device matter.
    plain : callable
        What is done to the program while torch is kept from logging.

    Raises
    ------
    UntraceableError
        A ``ValueError``: the model cannot be traced; the message names the operation.
    """
    example = volume.new_zeros(2, *volume.shape)  # a batch of one would be taken for a constant
    try:
        with _quietly(), _frozen(model), _data_followed():
            program = plain(_exported(model, example))
    except OutputError:
        raise  # it is nothing about tracing
    except Exception as error:  # tracing runs the user's code, which may raise anything
        raise UntraceableError(f"torch.export cannot trace the model: {_reason(error)}") from None
    if any(isinstance(value, FakeTensor) for value in program.constants.values()):
        # torch lost sight of a value, and holds its shape for a constant.
        raise UntraceableError("torch.export cannot trace the model: it hides values, as .data does")
    return program


def _exported(model: nn.Module, example: Tensor) -> ExportedProgram:
    """Run ``torch.export``; where Python hides what happens, read the code instead of running it.

    ``len(x)`` makes a plain number of the batch's size when code is run. Reading takes longer, and the
    compiler has to be loaded.
    """
    shapes = ({0: Dim("batch")},)
    with torch.jit.optimized_execution(False):  # TorchScript would keep to sizes seen first
        try:
            return torch.export.export(model, (example,), dynamic_shapes=shapes, strict=False)
        except Exception as error:
            if not any(words in str(error) for words in _HIDDEN):
                raise
            try:
                with torch.compiler.set_stance("default"):
                    return torch.export.export(model, (example,), dynamic_shapes=shapes, strict=True)
            except Exception:
                raise error from None


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Put frozen copies in the place of TorchScript code meanwhile: those torch.export can follow."""
    eager = [own for own in model.modules() if not isinstance(own, torch.jit.ScriptModule)]
    scripted = [
        (own, name, child)
        for own in eager
        for name, child in own._modules.items()
        # A frozen one has no mode.
        if isinstance(child, torch.jit.ScriptModule) and hasattr(child, "training")
    ]
    try:
        for own, name, child in scripted:
            # Rounding stays as it is: nothing is folded.
            own._modules[name] = torch.jit.freeze(child, optimize_numerics=False)
        yield
    finally:
        for own, name, child in scripted:
            own._modules[name] = child


@contextmanager
def _data_followed() -> Iterator[None]:
    """Let ``x.data`` of a traced value be ``x.detach()``, which torch.export does not lose sight of."""
    own = torch.Tensor.data

    def data(value: Tensor) -> Tensor:
        return value.detach()

    def replace(value: Tensor, other: Tensor) -> None:
        own.__set__(value, other)  # type: ignore[attr-defined]

    before = FakeTensor.__dict__.get("data")
    FakeTensor.data = property(data, replace)  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del FakeTensor.data
        else:
            FakeTensor.data = before


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch from logging and printing pages about a failure that is told in one line."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _reason(error: Exception) -> str:
    """Say in one line what torch stumbled over, and in which line of the user's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    if reason.startswith("Constraints violated"):
        reason = "it asks how many scans are in the batch, or fixes their number"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(FOREIGN)]
    if not frames:
        return reason
    last = frames[-1]
    return f"{reason.rstrip('.')}, at {code_line(last.filename, last.lineno, last.line)}"
