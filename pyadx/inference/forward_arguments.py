"""What a model takes besides the scan, such as age and sex: held fixed while the scan is changed."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Values that are handed on as they are.
_PLAIN = (str, bytes, bool, int, float, complex, type(None))


class ForwardArguments:
    """What a model is given behind the scans, for the scans of a batch.

    Parameters
    ----------
    given : mapping, sequence, Tensor, array or None
        A mapping goes in by name, a sequence in its order; a single tensor is a sequence of one. Tensors
        and arrays are ``[B, ...]``, a row for each scan, or ``[1, ...]``, one row for all; a tensor without
        axes and anything else, such as a number, goes in as it is. Floating-point numbers take the
        scans' dtype, all tensors their device.
    scans : Tensor
        The scans ``[B, C, D, H, W]``; only number, dtype and device matter.

    Raises
    ------
    ValueError, TypeError
        If a tensor has another number of rows, or holds NaN or infinity.
    """

    def __init__(self, given: Any, scans: Tensor) -> None:
        self._named: bool
        self._values: dict[Any, Any]
        if isinstance(given, ForwardArguments):  # prepared already
            self._named, self._values = given._named, given._values
            return
        named = isinstance(given, Mapping)
        if given is None:
            given = ()
        elif not named and (isinstance(given, str) or not isinstance(given, Sequence)):
            given = (given,)
        self._named = named
        entries = given.items() if named else enumerate(given)
        self._values = {key: _prepared(key, value, scans) for key, value in entries}

    def __bool__(self) -> bool:
        return bool(self._values)

    def of(self, start: int, stop: int) -> "ForwardArguments":
        """Return those of scans ``start`` to ``stop``."""
        part = ForwardArguments.__new__(ForwardArguments)
        part._named = self._named
        part._values = {
            key: value[start:stop] if _has_rows(value) and len(value) > 1 else value
            for key, value in self._values.items()
        }
        return part

    def beside(self, scans: Tensor) -> tuple[tuple[Any, ...], dict[Any, Any]]:
        """Return positional and named arguments for copies of one scan, or for the scans themselves.

        Parameters
        ----------
        scans : Tensor
            ``[N, C, D, H, W]``. Rows are repeated for copies of one scan; one of several has the first.
        """
        made = {key: _rows(value, scans) for key, value in self._values.items()}
        return ((), made) if self._named else (tuple(made.values()), {})

    def digest(self) -> str:
        """Return a hash of names and values; empty if there are none."""
        if not self._values:
            return ""
        told = hashlib.sha256()
        for key, value in self._values.items():
            told.update(f"{key!r}:{type(value).__name__}".encode())
            if isinstance(value, Tensor):
                told.update(f"{value.dtype}{tuple(value.shape)}".encode())
                told.update(
                    value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
                )
            else:
                told.update(repr(value).encode())
        return told.hexdigest()[:16]


def _prepared(key: Any, value: Any, scans: Tensor) -> Any:
    name = f"forward_args[{key!r}]"
    if isinstance(value, np.ndarray | np.generic):
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor):
        if not isinstance(value, _PLAIN):
            raise TypeError(
                f"{name} must be a tensor, an array or a plain value, got {type(value).__name__}"
            )
        return value
    tensor = value.detach().as_subclass(Tensor)
    if tensor.is_floating_point():
        tensor = tensor.to(dtype=scans.dtype)
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds NaN or infinity")
    tensor = tensor.to(device=scans.device).clone()
    if tensor.dim() and len(tensor) not in (1, len(scans)):
        rows = f"[{len(scans)}, ...] or [1, ...]" if len(scans) > 1 else "[1, ...]"
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)} for {len(scans)} scans, expected {rows}: a row each"
        )
    return tensor


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _rows(value: Any, scans: Tensor) -> Any:
    if not _has_rows(value):
        return value
    if len(value) == 1:
        return value.expand(scans.shape[0], *value.shape[1:])
    return value if len(value) == scans.shape[0] else value[:1].expand(scans.shape[0], *value.shape[1:])
