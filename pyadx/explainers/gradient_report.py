"""Report of a gradient method."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GradientReport:
    """How the gradient map of one scan was made.

    Attributes
    ----------
    passes : int
        Scans that were run forward and backward through the network: steps, samples, or scan and baseline.
    score_change : float, optional
        Score of the scan minus that of the baseline, for methods with completeness: their maps should add
        up to it.
    map_sum : float, optional
        Sum of the map before smoothing, for the same methods.
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
        """The same as `evaluations`: none is saved."""
        return self.passes

    @property
    def approximate(self) -> bool:
        """Never: the completeness gap says how good a map is."""
        return False

    @property
    def completeness_gap(self) -> float | None:
        """Difference between the map's sum and the score's change, as a share of that change.

        None if the method has no completeness, or the score does not change.
        """
        if self.score_change is None or self.map_sum is None or self.score_change == 0:
            return None
        return abs(self.map_sum - self.score_change) / abs(self.score_change)

    def facts(self) -> dict[str, Any]:
        """Return the number of passes; for methods with completeness also the sums and the gap."""
        facts: dict[str, Any] = {"passes": self.passes}
        if self.score_change is not None:
            facts |= {"score_change": self.score_change, "map_sum": self.map_sum}
            facts["completeness_gap"] = self.completeness_gap
        return facts

    def summary(self) -> str:
        """State the completeness gap if there is one."""
        gap = self.completeness_gap
        return "" if gap is None else f"completeness gap {gap:.2%}"
