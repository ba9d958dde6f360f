"""Numbers as users hand them over: Python's own, NumPy's, arrays and tensors that hold a single one."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor


def whole_number(value: object) -> int | None:
    """Return a whole number as an ``int``; None if it is something else.

    Parameters
    ----------
    value : object
        Anything with ``__index__``: ``int``, NumPy integers, arrays and tensors of one integer. Booleans
        are no numbers, and neither is 3.0.
    """
    if type(value) is int:  # the rule, and all that torch.compile can follow
        return value
    if _is_bool(value):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # each library has its own word for it
        return None


def real_number(value: object) -> float | None:
    """Return a real number as a ``float``; None if it is something else.

    Parameters
    ----------
    value : object
        Anything with ``__float__`` or ``__index__``: Python's and NumPy's numbers, arrays and tensors of
        no dimension. Booleans and texts are no numbers.
    """
    if type(value) is float or type(value) is int:  # the rule, and all that torch.compile can follow
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
    """Return the entries of a sequence, array or tensor; None for a single value or a text."""
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
