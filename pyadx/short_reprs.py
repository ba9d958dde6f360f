"""Short reprs of results, so that a notebook does not show a page of numbers."""

from dataclasses import fields
from typing import Any

_MOST_ITEMS = 4  # of a tuple, list or dictionary
_MOST_NUMBERS = 6  # of an array


def short_repr(result: Any) -> str:
    """Return a dataclass's repr with arrays as dtype and shape, and long collections as their length.

    For use as ``__repr__``.
    """
    shown = (
        f"{field.name}={_short(getattr(result, field.name))}" for field in fields(result) if field.repr
    )
    return f"{type(result).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        if len(shape) == 1 and shape[0] <= _MOST_NUMBERS:
            return f"[{', '.join(f'{number:.4g}' for number in value.tolist())}]"
        return f"{str(dtype).removeprefix('torch.')}[{', '.join(map(str, shape))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict | list | tuple) and len(value) > _MOST_ITEMS:
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_short, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    return repr(value)
