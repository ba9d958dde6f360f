"""Which axis of a tensor the scans of a batch lie along, followed operation by operation.

An operation that reduces over that axis, indexes it or normalises along it makes the class scores of a
scan depend on the scans beside it. What is not known here is said to be unknown, never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """Where the scans lie: index ``(o * scans + scan) * inner + i`` of an axis, ``o < outer``."""

    axis: int
    outer: int = 1
    inner: int = 1


@dataclass(frozen=True)
class Entangled:
    """Values that may depend on several scans: for certain, or because an operation is not known."""

    certain: bool
    where: Any  # the operation that did it, in the terms of whoever follows


ALL_APART = Rows(0)  # every scan's class scores in its own row, and of nothing else
State = Rows | Entangled | None  # None: holds nothing of any scan


@dataclass(frozen=True)
class Operand:
    """A tensor among the arguments of an operation."""

    shape: tuple[int, ...]
    state: State


SIZE = object()  # a number that is worked out from the number of scans


class Mixes(Exception):  # noqa: N818 (an answer, no error)
    """An operation makes scans depend on each other."""


class Unknown(Exception):  # noqa: N818 (an answer, no error)
    """Nobody can say whether it does."""


class Call:
    """One operation with its arguments by name."""

    def __init__(
        self,
        target: Any,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        operands: list[Operand],
        shapes: Sequence[tuple[int, ...]],
    ) -> None:
        self.target, self.name, self.operands, self.shapes = target, name, operands, shapes
        self._declared = list(target._schema.arguments)
        self.given = dict(zip((a.name for a in self._declared), args, strict=False)) | kwargs
        self.carrying = [own for own in operands if isinstance(own.state, Rows)]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument by name, or what the operation takes instead."""
        if name in self.given:
            return self.given[name]
        declared = next((a for a in self._declared if a.name == name), None)
        return declared.default_value if declared is not None and declared.has_default_value() else default

    def has(self, name: str) -> bool:
        """Whether the operation has an argument of this name."""
        return any(a.name == name for a in self._declared)

    def source(self) -> tuple[Operand, Rows]:
        """Return the one operand that holds scans."""
        (own,) = self.carrying
        assert isinstance(own.state, Rows)
        return own, own.state

    def dims(self, names: Sequence[str] = ("dim", "dims")) -> list[int] | None:
        """Return the axes that the operation works along, from 0; None for all of them."""
        given = next((self.get(n) for n in names if self.has(n)), None)
        if given is None:
            return None
        rank = len(self.source()[0].shape)
        return [int(d) % rank for d in (given if isinstance(given, list | tuple) else [given])]

    def everywhere(self, state: State) -> list[State]:
        """Give every result the same state."""
        return [state] * len(self.shapes)
