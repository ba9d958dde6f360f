"""A model's return value: which tensor holds the class scores, and whether they are usable."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.inference.score import Outputs
from pyadx.inference.wrappers import described
from pyadx.ops.numbers import whole_number

Output = str | int | None
_DEEPEST = 4  # levels of nested containers that are searched for tensors
# How far the sum of a scan's probabilities may be from 1.
_TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_FINE_TOLERANCE = 1e-3


class OutputError(TypeError):
    """A model returned no tensor, or a container of tensors without ``output`` naming the class scores."""


def check_output(output: Any) -> Output:
    """Return ``output`` if it is a name, an index or None; raise ``TypeError`` otherwise."""
    if output is None or isinstance(output, str):
        return output
    index = None if isinstance(output, bool) else whole_number(output)
    if index is None:
        raise TypeError(f"output must be the name or the index of one of the outputs, got {output!r}")
    return index


def output_of(model: nn.Module, output: Any) -> Output:
    """Return which output holds the class scores: ``output``, or what the model's ``card`` says.

    Raises
    ------
    TypeError
        If it is neither a name nor an index nor None.
    """
    if output is None:
        output = getattr(getattr(described(model, "card"), "card", None), "output", None)
    return check_output(output)


def chosen_output(returned: object, output: Output) -> Tensor:
    """Pick the tensor of class scores from what a model returned.

    Parameters
    ----------
    returned : object
        A tensor; or a dictionary, tuple, list, dataclass or named tuple of tensors, which may be nested.
    output : str, int or None
        Name or index of the tensor. Names of nested tensors are joined by dots (``"heads.0"``). None
        accepts only a bare tensor: a tuple of one may hold two in the model's next version.

    Returns
    -------
    Tensor
        The tensor as it was returned; its shape is not checked.

    Raises
    ------
    OutputError
        A ``TypeError``: the model returned no tensors, or a container while ``output`` is None.
    ValueError
        If there is no such output. Unless there are no tensors at all, the message lists what there is,
        with shapes.
    """
    if isinstance(returned, Tensor):
        if output is not None:
            raise ValueError(
                f"output={output!r} was given, but the model returns a single tensor {_shape(returned)}; "
                "leave output= out"
            )
        return returned
    named = dict(_named(returned))
    if not named:
        raise OutputError(
            "the model must return one tensor [B, classes], or several of which output= names one, got "
            f"{type(returned).__name__}; wrap it so that it returns the class scores only"
        )
    names = list(named)
    listed = ", ".join(f"{name} {_shape(tensor)}" for name, tensor in named.items())
    if output is None:
        best = next(
            (n for n in names if "logits" in n), next((n for n in names if named[n].dim() == 2), "")
        )
        word: Any = int(best) if best.isdecimal() else best or names[0]
        raise OutputError(
            f"the model must return one tensor [B, classes], got {type(returned).__name__} with {listed}; "
            f"say which holds the class scores, such as output={word!r}"
        )
    if str(output) in named:
        return named[str(output)]
    numbered = isinstance(returned, list | tuple) and not hasattr(returned, "_fields")
    if isinstance(output, int) and numbered and str(output + len(returned)) in named:  # type: ignore[arg-type]
        return named[str(output + len(returned))]  # type: ignore[arg-type]
    if isinstance(output, int) and not numbered and -len(names) <= output < len(names):
        return named[names[output]]
    raise ValueError(f"the model has no output {output!r}; its outputs are {listed}")


def _named(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, Tensor]]:
    """Return all tensors in nested containers, with their dotted names."""
    if isinstance(value, Tensor):
        return [(name, value)]
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        entries = list(zip(value._fields, value, strict=True))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        entries = list(enumerate(value))
    elif is_dataclass(value):
        entries = [(own.name, getattr(value, own.name)) for own in fields(value)]
    elif hasattr(value, "__dict__"):
        entries = [(own, inner) for own, inner in vars(value).items() if not own.startswith("_")]
    if depth >= _DEEPEST:
        return []
    prefix = f"{name}." if name else ""
    return [found for key, inner in entries for found in _named(inner, f"{prefix}{key}", depth + 1)]


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"


def check_outputs(outputs: object, batch: int, kind: Outputs = "logits") -> Tensor:
    """Check that a model returned finite class scores ``[B, classes]``.

    Parameters
    ----------
    outputs : object
        What the model returned.
    batch : int
        Number of scans ``B``.
    kind : {"logits", "probabilities", "log_probabilities"}
        What the outputs are. Log probabilities may be minus infinity.

    Returns
    -------
    Tensor
        The outputs as a plain tensor.

    Raises
    ------
    TypeError
        If the model did not return a tensor.
    ValueError
        If the shape is another one, or there are NaN or infinite values.
    """
    outputs = chosen_output(outputs, None)
    if outputs.dim() != 2 or outputs.shape[0] != batch or outputs.shape[1] < 1:
        raise ValueError(
            f"the model must return [B, classes] for {batch} scans, got {tuple(outputs.shape)}"
        )
    if type(outputs) is not Tensor:  # such as MONAI's MetaTensor
        outputs = outputs.as_subclass(Tensor)
    usable = torch.isfinite(outputs)
    if kind == "log_probabilities":
        usable |= outputs == -torch.inf
    if not usable.all():
        raise ValueError("the model's output holds NaN or infinity; check its weights and the scan")
    return outputs


def check_are_probabilities(outputs: Tensor, kind: Outputs) -> None:
    """Check that outputs are probabilities, or their logarithms, if the user says so.

    Parameters
    ----------
    outputs : Tensor
        From `check_outputs`, ``[B, classes]``.
    kind : {"logits", "probabilities", "log_probabilities"}
        What the user says they are. Logits may have any value.

    Raises
    ------
    ValueError
        If probabilities are not between 0 and 1, or those of a scan do not sum to 1.
    """
    if kind == "logits":
        return
    shares = outputs.double().exp() if kind == "log_probabilities" else outputs.double()
    tolerance = _TOLERANCE.get(outputs.dtype, _FINE_TOLERANCE)
    advice = f"outputs={kind!r} does not fit this model; class scores before softmax are outputs='logits'"
    low, high = float(shares.min()), float(shares.max())
    if low < -tolerance or high > 1 + tolerance:
        raise ValueError(
            f"the model's probabilities go from {low:.3g} to {high:.3g}, expected 0 to 1; {advice}"
        )
    if outputs.shape[1] > 1:
        sums = shares.sum(1)
        worst = float(sums[(sums - 1).abs().argmax()])
        if abs(worst - 1) > tolerance:
            raise ValueError(
                f"the model's probabilities of a scan sum to {worst:.3g}, expected 1 for mutually "
                f"exclusive classes (of independent classes, let the model return a single one); {advice}"
            )
