"""How a map from gradients came about."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GradientReport:
    """How the map of one scan came about.

    Attributes
    ----------
    passes : int
        Forward and backward passes.
    score_change : float, optional
        Score of the scan minus that of the baseline, where the map should add up to it.
    map_sum : float, optional
        What it adds up to, before it is smoothed.
    """

    passes: int
    score_change: float | None = None
    map_sum: float | None = None

    @property
    def evaluations(self) -> int:
        """One per pass."""
        return self.passes

    @property
    def evaluated(self) -> int:
        """All of them."""
        return self.passes

    @property
    def approximate(self) -> bool:
        """The completeness gap says how good a map is."""
        return False

    @property
    def completeness_gap(self) -> float | None:
        """How far the map's sum is from the score's change, as a share of it; None where it has no meaning.

        That is where the method has no such property, and where the score does not change.
        """
        if self.score_change is None or self.map_sum is None or self.score_change == 0:
            return None
        return abs(self.map_sum - self.score_change) / abs(self.score_change)

    def facts(self) -> dict[str, Any]:
        """Return the number of passes and, where they have a meaning, the sums and the completeness gap."""
        facts: dict[str, Any] = {"passes": self.passes}
        if self.score_change is not None:
            facts |= {"score_change": self.score_change, "map_sum": self.map_sum}
            facts["completeness_gap"] = self.completeness_gap
        return facts

    def summary(self) -> str:
        """State the completeness gap."""
        gap = self.completeness_gap
        return "" if gap is None else f"completeness gap {gap:.2%}"
