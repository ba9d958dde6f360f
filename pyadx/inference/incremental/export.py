"""Exports a user's model with ``torch.export``, for any batch size."""

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

# Parts of torch's messages where running the code hides what it does with the batch size.
_HIDDEN = ("Constraints violated", "fake tensor")


def exported(
    model: nn.Module,
    volume: Tensor,
    plain: Callable[[ExportedProgram], ExportedProgram] = lambda program: program,
) -> ExportedProgram:
    """Export a model in evaluation mode, for any batch size.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode. TorchScript modules inside it are replaced by frozen copies during the export.
    volume : Tensor
        ``[C, D, H, W]``; only its shape, dtype and device matter.
    plain : callable
        Applied to the exported program while torch's logs are still silenced.

    Returns
    -------
    ExportedProgram
        What ``plain`` returned.

    Raises
    ------
    UntraceableError
        A ``ValueError``: the model cannot be traced; the message says why, and names the line of code if
        torch tells it.
    OutputError
        If the model does not return usable class scores.
    """
    example = volume.new_zeros(2, *volume.shape)  # torch.export takes a batch size of one for a constant
    try:
        with _quietly(), _frozen(model), _data_followed():
            program = plain(_exported(model, example))
    except OutputError:
        raise  # not a failure of tracing
    except Exception as error:  # tracing runs the user's code, which may raise anything
        raise UntraceableError(f"torch.export cannot trace the model: {_reason(error)}") from None
    if any(isinstance(value, FakeTensor) for value in program.constants.values()):
        # torch lost track of a value, and took a tensor without data for a constant.
        raise UntraceableError("torch.export cannot trace the model: its code hides values, as .data does")
    return program


def _exported(model: nn.Module, example: Tensor) -> ExportedProgram:
    """Run ``torch.export``, first non-strict, which runs the model's code, then strict if that fails.

    When code is run, ``len(x)`` makes the batch size a plain number. Strict mode analyses the code instead.
    It is slower, and has to load torch's compiler.
    """
    shapes = ({0: Dim("batch")},)
    with torch.jit.optimized_execution(False):  # TorchScript would specialise on the first sizes
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
    """Replace TorchScript modules by frozen copies for a while: torch.export can trace those."""
    eager = [own for own in model.modules() if not isinstance(own, torch.jit.ScriptModule)]
    scripted = [
        (own, name, child)
        for own in eager
        for name, child in own._modules.items()
        # Modules that are frozen already have no attribute `training`.
        if isinstance(child, torch.jit.ScriptModule) and hasattr(child, "training")
    ]
    try:
        for own, name, child in scripted:
            # Folding operations would change the rounding.
            own._modules[name] = torch.jit.freeze(child, optimize_numerics=False)
        yield
    finally:
        for own, name, child in scripted:
            own._modules[name] = child


@contextmanager
def _data_followed() -> Iterator[None]:
    """Make ``x.data`` of a traced value return ``x.detach()``, of which torch.export keeps track."""
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
    """Silence torch's logs and prints, which take pages where our error takes one line."""
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
    """Summarise in one line why tracing failed, with the line of the user's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    if reason.startswith("Constraints violated"):
        reason = "its code depends on the number of scans in the batch, or fixes it"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(FOREIGN)]
    if not frames:
        return reason
    last = frames[-1]
    return f"{reason.rstrip('.')}, at {code_line(last.filename, last.lineno, last.line)}"
