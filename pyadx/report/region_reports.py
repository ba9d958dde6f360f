"""Region values and interactions from a sidecar. Missing or malformed entries are skipped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LARGEST_LABEL = 2**31 - 1
_LARGEST = 1e100  # no real score is this large, and arithmetic on such numbers overflows
WHISKER = 1.96  # standard errors: 95% of a normal distribution


@dataclass(frozen=True)
class Region:
    """One region of a report. Unknown entries are None.

    Attributes
    ----------
    name : str
        Name of the region, or its label number if it has none.
    label : int
        Number in the label volume.
    value : float
        Share of the change of the score (Shapley values), or change of the score (decisive regions).
    error : float or None
        Standard error of the value.
    alone, first : float or None
        As in `pyadx.explainers.shapley_report.ShapleyReport`.
    voxels : int or None
        Number of voxels.
    """

    name: str
    label: int
    value: float
    error: float | None = None
    alone: float | None = None
    first: float | None = None
    voxels: int | None = None

    @property
    def whisker(self) -> float:
        """Half the width of the 95% interval; 0 if the error is not known."""
        return WHISKER * (self.error or 0.0)

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest value that a chart of this region must include."""
        points = (self.value - self.whisker, self.value + self.whisker, self.alone or 0.0, 0.0)
        return min(points), max(points)


@dataclass(frozen=True)
class RegionReport:
    """Regions of a heatmap, in the order of the page.

    Attributes
    ----------
    regions : tuple of Region
        Regions with shares are sorted by absolute value, the largest first. Decisive regions keep the
        order in which they were selected.
    shared : bool
        Whether the values are shares of ``change``.
    score, reference_score, change, gap : float or None
        As in `pyadx.explainers.shapley_report.ShapleyReport`.
    exact : bool
        Whether the shares are exact, not estimated from samples.
    """

    regions: tuple[Region, ...]
    shared: bool
    score: float | None = None
    reference_score: float | None = None
    change: float | None = None
    gap: float | None = None
    exact: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest value of a chart of all regions; always different."""
        ends = [region.ends for region in self.regions]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return (low, high) if high > low else (-1.0, 1.0)


@dataclass(frozen=True)
class Pairs:
    """Interactions of pairs of regions.

    Attributes
    ----------
    names : tuple of str
        Names of the regions, ``[N]``.
    matrix : tuple
        Interactions, ``[N][N]``; None on the diagonal and where unknown.
    """

    names: tuple[str, ...]
    matrix: tuple[tuple[float | None, ...], ...]


def region_report(report: Any) -> RegionReport | None:
    """Read the regions of a report.

    Parameters
    ----------
    report : mapping
        The ``report`` entry of a sidecar, or what ``facts()`` of a `ShapleyReport` or `FlipReport` returns.
        Columns whose length differs from that of ``labels`` are skipped, and so are regions without an
        integer label or a finite value.

    Returns
    -------
    RegionReport or None
        None if the report has no regions.
    """
    report = report if isinstance(report, Mapping) else {}
    labels, shared = _list(report, "labels"), "values" in report
    values = _list(report, "values" if shared else "changes")
    if not labels or len(values) != len(labels):
        return None
    names, errors, alone, first, voxels = (
        own if len(own) == len(labels) else [None] * len(labels)
        for own in (_list(report, name) for name in ("names", "errors", "alone", "first", "voxels"))
    )
    found: dict[int, Region] = {}
    for place, (label, value) in enumerate(zip(labels, values, strict=True)):
        number, known = _whole(label), _number(value)
        if number is None or known is None or number in found:
            continue
        error = _number(errors[place])
        found[number] = Region(
            _name(names[place], number),
            number,
            known,
            error if error is not None and error >= 0 else None,
            _number(alone[place]),
            _number(first[place]),
            _whole(voxels[place]),
        )
    if not found:
        return None
    regions = sorted(found.values(), key=lambda region: -abs(region.value)) if shared else found.values()
    whole = {name: _number(report.get(name)) for name in ("score", "reference_score", "change", "gap")}
    return RegionReport(tuple(regions), shared, **whole, exact=report.get("exact") is True)


def pairs_of(report: Any) -> Pairs | None:
    """Read the interactions of pairs from ``report["pairwise"]``; None if there are none."""
    pairwise = report.get("pairwise") if isinstance(report, Mapping) else None
    pairwise = pairwise if isinstance(pairwise, Mapping) else {}
    labels, names, matrix = (_list(pairwise, name) for name in ("labels", "names", "matrix"))
    size = len(labels)
    if size < 2 or len(matrix) != size or any(not isinstance(r, list) or len(r) != size for r in matrix):
        return None
    names = names if len(names) == size else labels
    return Pairs(
        tuple(_name(name, label) for name, label in zip(names, labels, strict=True)),
        tuple(
            tuple(None if i == j else _number(value) for j, value in enumerate(row))
            for i, row in enumerate(matrix)
        ),
    )


def merges_of(report: Any) -> list[dict[str, Any]]:
    """Read the interactions of merges from ``report["interactions"]``, in the order given.

    Returns
    -------
    list of dict
        As `pyadx.explainers.interactions.MergeInteractions.strongest` gives them.
    """
    found = []
    for merge in _list(report, "interactions") if isinstance(report, Mapping) else []:
        merge = merge if isinstance(merge, Mapping) else {}
        leaves = [_whole(leaf) for leaf in _list(merge, "leaves")]
        numbers = {name: _number(merge.get(name)) for name in ("together", "alone", "interaction")}
        parts = _whole(merge.get("parts"))
        if len(leaves) == 2 and None not in (*leaves, parts, *numbers.values()):
            found.append({"leaves": leaves, "parts": parts, **numbers})
    return found


def _list(mapping: Mapping[str, Any], name: str) -> list[Any]:
    value = mapping.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def _whole(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= _LARGEST_LABEL else None


def _number(value: Any) -> float | None:
    """Return a finite float, or None. A sidecar may hold NaN, and integers too large for a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= _LARGEST else None  # also None for NaN


def _name(name: Any, label: Any) -> str:
    return name if isinstance(name, str) and name.strip() else str(label)
