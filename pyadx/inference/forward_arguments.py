"""Further model inputs, such as age and sex. They stay fixed while the scan is changed."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Types that are passed to the model unchanged.
_PLAIN = (str, bytes, bool, int, float, complex, type(None))


class ForwardArguments:
    """The arguments that a model takes after the scans, for every scan of a batch.

    Parameters
    ----------
    given : mapping, sequence, Tensor, array or None
        A mapping is passed by name, a sequence by position. A single tensor, array or plain value counts
        as a sequence of one. Tensors and arrays are ``[B, ...]``, one row per scan, or ``[1, ...]``, one
        row for all scans. Tensors without axes, numbers, strings and None are the same for all scans.
        Tensors and arrays are moved to the scans' device; floating-point ones also take the scans' dtype.
    scans : Tensor
        The scans ``[B, C, D, H, W]``. Only their number, dtype and device are used.

    Raises
    ------
    TypeError
        If a value is neither a tensor, nor an array, nor a plain value.
    ValueError
        If a tensor has another number of rows, or holds NaN or infinity.
    """

    def __init__(self, given: Any, scans: Tensor) -> None:
        self._named: bool
        self._values: dict[Any, Any]
        if isinstance(given, ForwardArguments):
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
        """Return the arguments of scans ``start`` to ``stop`` (exclusive)."""
        part = ForwardArguments.__new__(ForwardArguments)
        part._named = self._named
        part._values = {
            key: value[start:stop] if _has_rows(value) and len(value) > 1 else value
            for key, value in self._values.items()
        }
        return part

    def for_scans(self, scans: Tensor) -> tuple[tuple[Any, ...], dict[Any, Any]]:
        """Return the positional and named arguments of a forward pass.

        Parameters
        ----------
        scans : Tensor
            ``[N, C, D, H, W]``: all the scans, or ``N`` copies of a single one. Where the number of rows
            is not ``N``, the first row is repeated ``N`` times.

        Returns
        -------
        positional : tuple
        named : dict
        """
        made = {key: _rows(value, scans) for key, value in self._values.items()}
        return ((), made) if self._named else (tuple(made.values()), {})

    def digest(self) -> str:
        """Return a hash of names and values, or an empty string if there are no arguments."""
        if not self._values:
            return ""
        hashed = hashlib.sha256()
        for key, value in self._values.items():
            hashed.update(f"{key!r}:{type(value).__name__}".encode())
            if isinstance(value, Tensor):
                hashed.update(f"{value.dtype}{tuple(value.shape)}".encode())
                hashed.update(
                    value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
                )
            else:
                hashed.update(repr(value).encode())
        return hashed.hexdigest()[:16]


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
            raise ValueError(f"{name} holds NaN or infinity; give finite values")
    tensor = tensor.to(device=scans.device).clone()
    if tensor.dim() and len(tensor) not in (1, len(scans)):
        rows = f"[{len(scans)}, ...] or [1, ...]" if len(scans) > 1 else "[1, ...]"
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)} for {len(scans)} scans; "
            f"expected {rows}, one row per scan"
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
