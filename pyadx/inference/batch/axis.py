"""Track the axis along which a tensor holds the scans of a batch, operation by operation.

An operation that reduces over that axis, indexes it or normalises along it makes the class scores of a
scan depend on the other scans. The effect of an unlisted operation is reported as unknown, never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """Scans stay apart along ``axis``. A scan's values are at index ``(o * scans + scan) * inner + i``.

    Here ``0 <= o < outer`` and ``0 <= i < inner``.
    """

    axis: int
    outer: int = 1
    inner: int = 1


@dataclass(frozen=True)
class Entangled:
    """Each value may depend on several scans: it certainly does, or an operation is not known."""

    certain: bool
    where: Any  # the operation that caused it: a node of a graph, or a description


ALL_APART = Rows(0)  # row ``b`` depends on scan ``b`` only
State = Rows | Entangled | None  # None: does not depend on any scan


@dataclass(frozen=True)
class Operand:
    """A tensor among the arguments of an operation."""

    shape: tuple[int, ...]
    state: State


SIZE = object()  # stands for a number that is computed from the number of scans


class Mixes(Exception):  # noqa: N818 (a result, not an error)
    """An operation makes the values of a scan depend on other scans."""


class Unknown(Exception):  # noqa: N818 (a result, not an error)
    """It is not known whether an operation does that."""


class Call:
    """One operation, with access to its arguments by name."""

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
        """Return an argument by name, else the operation's own default, else ``default``."""
        if name in self.given:
            return self.given[name]
        declared = next((a for a in self._declared if a.name == name), None)
        return declared.default_value if declared is not None and declared.has_default_value() else default

    def has(self, name: str) -> bool:
        """Whether the operation has an argument of this name."""
        return any(a.name == name for a in self._declared)

    def source(self) -> tuple[Operand, Rows]:
        """Return the only operand that holds scans, and its state; ``ValueError`` if there are several."""
        (own,) = self.carrying
        assert isinstance(own.state, Rows)
        return own, own.state

    def dims(self, names: Sequence[str] = ("dim", "dims")) -> list[int] | None:
        """Return the axes that the operation works along, not negative; None for all axes."""
        given = next((self.get(n) for n in names if self.has(n)), None)
        if given is None:
            return None
        rank = len(self.source()[0].shape)
        return [int(d) % rank for d in (given if isinstance(given, list | tuple) else [given])]

    def everywhere(self, state: State) -> list[State]:
        """Return this state for every result."""
        return [state] * len(self.shapes)
