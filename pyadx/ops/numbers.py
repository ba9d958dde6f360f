"""Numbers that users pass: Python's, NumPy's, and arrays and tensors that hold a single one."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor


def whole_number(value: object) -> int | None:
    """Convert a whole number to ``int``.

    Parameters
    ----------
    value : object
        Anything with ``__index__``: ``int``, NumPy integers, zero-dimensional integer arrays, and integer
        tensors of one element.

    Returns
    -------
    int or None
        None if ``value`` is anything else. Booleans and floats such as 3.0 are not whole numbers here.
    """
    if type(value) is int:  # the usual case, and the only one that torch.compile can trace
        return value
    if _is_bool(value):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # each library raises its own type
        return None


def real_number(value: object) -> float | None:
    """Convert a real number to ``float``.

    Parameters
    ----------
    value : object
        Anything with ``__float__`` or ``__index__``: Python's and NumPy's numbers, zero-dimensional arrays
        and tensors.

    Returns
    -------
    float or None
        None if ``value`` is anything else. Booleans and strings are not numbers here.
    """
    if type(value) is float or type(value) is int:  # the usual case, and all that torch.compile can trace
        return float(value)
    if _is_bool(value) or isinstance(value, str | bytes):
        return None
    if isinstance(value, np.ndarray | np.generic | Tensor) and (value.ndim > 0 or _is_complex(value)):
        return None
    if not hasattr(type(value), "__float__") and not hasattr(type(value), "__index__"):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return None


def values_of(value: Any) -> list[Any] | None:
    """Return the entries of a sequence, array or tensor as a list; None for a single value or a string."""
    if isinstance(value, np.ndarray | Tensor):
        return list(value.tolist()) if value.ndim > 0 else None
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return list(value)
    return None


def _is_bool(value: object) -> bool:
    dtype = str(getattr(value, "dtype", ""))
    return isinstance(value, bool) or dtype in ("bool", "torch.bool")


def _is_complex(value: np.ndarray | np.generic | Tensor) -> bool:
    return "complex" in str(value.dtype)
