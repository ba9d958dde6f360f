"""Options of incremental scoring, and environment variables that choose among variants."""

import os
from collections.abc import Sequence
from typing import Literal, get_args

from pyadx.ops.numbers import whole_number

Precision = Literal["float32", "tf32", "bf16"]

_SLOTS = ("auto", "exact", "canonical")


def check_precision(precision: str) -> None:
    """Raise ``ValueError`` unless ``precision`` is one of `Precision`."""
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}")


def check_max_memory(max_memory: int | None) -> int | None:
    """Return ``max_memory`` as an ``int``, or None; raise ``ValueError`` unless it is positive or None."""
    if max_memory is None:
        return None
    number = whole_number(max_memory)
    if number is None or number < 1:
        raise ValueError(f"max_memory must be a positive number of bytes, got {max_memory!r}")
    return number


def asked_for(variable: str, choices: Sequence[str]) -> str:
    """Return the choice that an environment variable names.

    Parameters
    ----------
    variable : str
        Name of the environment variable.
    choices : sequence of str
        Allowed values. The first is the default, for a variable that is not set or empty.

    Raises
    ------
    ValueError
        If the variable has another value.
    """
    asked = os.environ.get(variable) or choices[0]
    if asked not in choices:
        raise ValueError(f"{variable} must be one of {', '.join(choices)}, got {asked!r}")
    return asked


def wants_canonical_slots(device_type: str) -> bool:
    """Whether batches get slots of few sizes: on CUDA, unless the variable ``PYADX_SLOTS`` says otherwise.

    Raises
    ------
    ValueError
        If ``PYADX_SLOTS`` is neither ``auto``, ``exact`` nor ``canonical``.
    """
    asked = asked_for("PYADX_SLOTS", _SLOTS)
    return device_type == "cuda" if asked == "auto" else asked == "canonical"
