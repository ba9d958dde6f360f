"""The kinds of values that methods' options take: how each is read from text, checked and written."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyadx.explainers.windows import triple


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes
    ----------
    allowed : str
        The allowed values in words, for help and errors.
    parse : callable
        Reads a value from text; raises ``ValueError`` if the text is not an allowed value.
    write : callable
        Writes a value as text that `parse` reads back as the same value.
    is_reference : bool
        Whether values are references (`pyadx.explainers.references`). The option may have any name.
    """

    allowed: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str] = str
    is_reference: bool = False


def choice(values: Sequence[str]) -> Kind:
    """Return the kind of value that is one of several words."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return Kind(", ".join(values), parse)


def whole(least: int = 1) -> Kind:
    """Return the kind of a whole number of at least ``least``."""

    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise ValueError
        return value

    return Kind(f"a whole number from {least}", parse)


def number(*, above: float = -math.inf, least: float = -math.inf) -> Kind:
    """Return the kind of a finite number above ``above`` and of at least ``least``."""

    def parse(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not value > above or value < least:
            raise ValueError
        return value

    words = "a finite number"
    if above > -math.inf:
        words = f"a number above {above:g}"
    elif least > -math.inf:
        words = f"a number from {least:g}"
    return Kind(words, parse, lambda value: repr(float(value)).removesuffix(".0"))


def optional(kind: Kind) -> Kind:
    """Return a kind that also takes the word ``none``, which is read as None."""

    def parse(text: str) -> Any:
        return None if text == "none" else kind.parse(text)

    def write(value: Any) -> str:
        return "none" if value is None else kind.write(value)

    return Kind(f"{kind.allowed}, or none", parse, write, kind.is_reference)


def _switch(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _voxels(text: str) -> int | tuple[int, int, int]:
    lengths = triple("", [int(part) for part in text.split("x")] * (1 if "x" in text else 3))
    return lengths[0] if len(set(lengths)) == 1 else lengths


def _write_voxels(value: Any) -> str:
    lengths = triple("", value)
    return "x".join(map(str, lengths[:1] if len(set(lengths)) == 1 else lengths))


def _name(text: str) -> str:
    if not text:
        raise ValueError
    return text


def parse_bytes(text: str) -> int:
    """Read a number of bytes from text such as ``500M``, ``8G`` or plain digits; units are powers of 1024.

    Raises
    ------
    ValueError
        If the text is not a positive size.
    """
    units = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"a size is written as 500M or 8G, got {text!r}")
    return int(float(found[1]) * 1024 ** units[found[2].upper()])


SWITCH = Kind("true or false", _switch, lambda value: "true" if value else "false")
VOXELS = Kind("voxels: one number such as 7, or one per axis such as 7x5x5", _voxels, _write_voxels)
NAME = Kind("a name", _name)
LAYERS = Kind("a name", _name, lambda value: value if isinstance(value, str) else "+".join(value))
OUTPUT = Kind("a name or an index", lambda text: int(text) if text.isdecimal() else _name(text))
BYTES = Kind("a size such as 500M or 8G", parse_bytes)
