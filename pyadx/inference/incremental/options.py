"""What incremental scoring can be told."""

import os
from typing import Literal, get_args

from pyadx.ops.numbers import whole_number

Precision = Literal["float32", "tf32", "bf16"]

_SLOTS = ("auto", "exact", "canonical")


def check_precision(precision: str) -> None:
    """Raise ``ValueError`` unless ``precision`` is a known kind."""
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}")


def check_max_memory(max_memory: int | None) -> int | None:
    """Return a positive number of bytes, or None; raise ``ValueError`` where it is neither."""
    if max_memory is None:
        return None
    number = whole_number(max_memory)
    if number is None or number < 1:
        raise ValueError(f"max_memory must be a positive number of bytes, got {max_memory!r}")
    return number


def wants_canonical_slots(device_type: str) -> bool:
    """Whether batches get slots of few sizes: on CUDA, or as ``PYADX_SLOTS`` in the environment asks.

    Raises
    ------
    ValueError
        If ``PYADX_SLOTS`` names no kind of slots.
    """
    asked = os.environ.get("PYADX_SLOTS") or "auto"
    if asked not in _SLOTS:
        raise ValueError(f"PYADX_SLOTS must be one of {', '.join(_SLOTS)}, got {asked!r}")
    return device_type == "cuda" if asked == "auto" else asked == "canonical"
