"""The greedy search for decisive regions, and its report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from pyadx.inference.engines import RegionScorer
from pyadx.inference.regions import Regions
from pyadx.short_reprs import short_repr

Kind = Literal["remove", "keep"]


@dataclass(frozen=True, eq=False)
class FlipReport:
    """Regions that decide the class of one scan. Arrays are in the order of ``labels``.

    Attributes
    ----------
    kind : {"remove", "keep"}
        Whether these regions were filled (``remove``), or all others (``keep``).
    labels, names : tuple
        Numbers and names of the regions in the order in which they were taken, ``[N]``.
    changes : ndarray
        float64 ``[N]``: how much the score fell when each region was filled (``remove``), or rose when it
        was brought back (``keep``), after the regions before it.
    score, decided_score : float
        Score of the scan, and of the scan with just these regions filled (or kept).
    decided : bool
        Whether the class changes without these regions (``remove``), or holds with them alone (``keep``).
        If not, the search ended since no region was left, no further one moved the score in the wanted
        direction, or the largest number of regions was reached.
    pruned : int
        Regions that were taken and then dropped, since they were not needed.
    evaluations, evaluated : int
        Scans that were scored, at least 1; a plain implementation takes a forward pass for each. Both are
        the same number.
    """

    kind: Kind
    labels: tuple[int, ...]
    names: tuple[str, ...]
    changes: np.ndarray
    score: float
    decided_score: float
    decided: bool
    pruned: int
    evaluations: int
    evaluated: int

    __repr__ = short_repr

    @property
    def approximate(self) -> bool:
        """Never: a full forward pass confirms the decision. A smaller set may exist all the same."""
        return False

    def facts(self) -> dict[str, Any]:
        """Return everything as plain data."""
        own = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
        return {**own, "changes": self.changes.tolist()}

    def summary(self) -> str:
        """Say which regions decide the class, and how the score changes."""
        if self.decided and not self.labels:
            remove = "the model does not predict this class: no region has to go"
            return remove if self.kind == "remove" else "the class holds with all regions filled"
        count = f"{len(self.labels)} region{'' if len(self.labels) == 1 else 's'}"
        named = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
        moved = f"score {self.score:.4g} to {self.decided_score:.4g}"
        if self.kind == "remove":
            words = "without {} the class changes" if self.decided else "even without {} the class holds"
        else:
            words = "{} alone hold the class" if self.decided else "not even {} hold the class"
        return words.format(f"{count} ({named})" if named else count) + f"; {moved}"


class Search:
    """Takes regions until the class is decided, then drops those that are not needed.

    Parameters
    ----------
    scorer : RegionScorer
        Scores regions of the scan.
    regions : Regions
        Regions that change a voxel.
    scan, filled : Tensor
        ``[C, D, H, W]``: the scan, and the scan with all regions filled.
    kind : {"remove", "keep"}
        Whether to start from the scan and fill regions, or from the filled scan and bring regions back.

    Attributes
    ----------
    taken : list of int
        Indices of the regions, in the order in which they were taken.
    changes : list of float
        How much each of them moved the score in the wanted direction.
    pruned, evaluations : int
        Regions that were dropped, and scans that were scored.
    """

    def __init__(
        self, scorer: RegionScorer, regions: Regions, scan: Tensor, filled: Tensor, kind: Kind
    ) -> None:
        self._scorer, self._regions = scorer, regions
        self._begin, self._towards = (scan, filled) if kind == "remove" else (filled, scan)
        self._sign = 1.0 if kind == "remove" else -1.0
        self._wanted = kind == "keep"  # whether the target is to be the predicted class
        scorer.refill(self._towards)
        scorer.rebase(self._begin)
        self.taken: list[int] = []
        self.changes: list[float] = []
        self.pruned = self.evaluations = 0

    @property
    def decided(self) -> bool:
        """Whether the current scan has the wanted outcome: the target is predicted, or no longer."""
        logits = self._scorer.outputs[0]
        return (int(logits.argmax()) == self._scorer.target) == self._wanted

    @property
    def score(self) -> float:
        """Score of the current scan."""
        return self._scorer.reference

    def run(self, most: int, advance: Callable[[int], None]) -> None:
        """Take at most ``most`` regions; ``advance`` is called with 1 after each."""
        left = np.arange(len(self._regions.boxes))
        while not self.decided and len(left) and len(self.taken) < most:
            moved = self._scores(left)
            best = int(moved.argmax())
            if not moved[best] > 0:
                break  # every other region moves the score in the wrong direction
            self._commit(int(left[best]), self._towards)
            self.taken.append(int(left[best]))
            left = np.delete(left, best)
            advance(1)
        if self.decided:
            self._prune()
        self._verify()

    def _scores(self, places: np.ndarray) -> np.ndarray:
        """Return how much each region would move the score in the wanted direction."""
        self.evaluations += len(places)
        scores = self._scorer.score_regions(self._regions.part(places), advance=lambda count: None)
        return self._sign * scores.double().cpu().numpy()

    def _commit(self, place: int, values: Tensor) -> None:
        self._scorer.commit(self._regions.part(np.array([place])), values)

    def _prune(self) -> None:
        """Drop regions that are not needed, the last taken first, since it tends to matter least."""
        for place in self.taken[::-1]:
            self._commit(place, self._begin)
            self.evaluations += 1
            if self.decided:
                self.taken.remove(place)
                self.pruned += 1
            else:
                self._commit(place, self._towards)

    def _verify(self) -> None:
        """Measure the change of each region that is left, and confirm the outcome by a forward pass."""
        self._scorer.rebase(self._begin)
        before = self.score
        for place in self.taken:
            self._commit(place, self._towards)
            self.changes.append(self._sign * (before - self.score))
            before = self.score
        self._scorer.rebase()
