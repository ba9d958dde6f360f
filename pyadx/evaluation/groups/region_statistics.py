"""Regions of an atlas in two groups: means, differences, false discovery rate, left-right asymmetry."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyadx.data.region_tables import side_of
from pyadx.evaluation.groups.contrasts import CONFIDENCE, compare_groups, hedges_g
from pyadx.evaluation.groups.design import Design
from pyadx.evaluation.groups.permutations import ALPHA
from pyadx.evaluation.groups.region_permutations import RegionNull

GROUP_COLUMNS: dict[str, str] = {
    "name": "Name of the region.",
    "group": "A group, or the contrast of the two groups.",
    "n": "Number of subjects.",
    "mean": "Mean over subjects; for the contrast, their difference, adjusted for any covariates.",
    "sd": "Standard deviation over subjects; for the contrast, pooled over both groups.",
    "se": "Standard error of the mean; for the contrast, of the difference.",
    "ci_low": "Lower limit of the 95% confidence interval of the mean or difference.",
    "ci_high": "Upper limit of the 95% confidence interval of the mean or difference.",
    "t": "t of the contrast.",
    "p": "Two-sided p of the contrast, uncorrected.",
    "p_fdr": "Benjamini-Hochberg q over the table's regions, from p_permuted if available, else from p.",
    "hedges_g": "Hedges' g, with small-sample correction; not adjusted for covariates.",
    "p_permuted": "Two-sided p of the contrast by permutation of subjects, uncorrected.",
    "p_fwe": "Two-sided p by permutation, family-wise over the table's regions (maximum statistic).",
}


def group_table(
    names: Sequence[str],
    values: np.ndarray,
    design: Design,
    groups: tuple[str, str],
    null: RegionNull | None = None,
) -> list[dict[str, Any]]:
    """Compare two groups in every region.

    Parameters
    ----------
    names : sequence of str
        Names of the regions, ``[K]``.
    values : numpy.ndarray
        ``[N, K]``, one value per subject and region.
    design : Design
        Groups and covariates of the ``N`` subjects. The test is Welch's without covariates, and ordinary
        least squares with them.
    groups : pair of str
        Names of the first and the second group.
    null : RegionNull, optional
        Permutations of the same values and design.

    Returns
    -------
    list of dict
        Three rows per region, with the keys of `GROUP_COLUMNS`: the first group, the second group and the
        contrast. A cell is ``None`` if it is not defined or does not apply to the row.

    Raises
    ------
    ValueError
        If a group has fewer than two subjects.
    """
    found = compare_groups(values, design)
    permuted = None if null is None else null.p(found.t)
    q = false_discovery(found.p if permuted is None else permuted)
    parts = (values[design.first], values[~design.first])
    counts = (len(parts[0]), len(parts[1]))
    means, variances = [part.mean(0) for part in parts], [part.var(0, ddof=1) for part in parts]
    g = hedges_g((means[0], means[1]), (variances[0], variances[1]), counts)
    degrees = sum(counts) - 2
    pooled = np.sqrt(sum((n - 1) * v for n, v in zip(counts, variances, strict=True)) / degrees)
    rows = []
    for k, name in enumerate(names):
        for group, n, mean, variance in zip(groups, counts, means, variances, strict=True):
            rows.append(_row(name, group, n, *_mean_facts(mean[k], variance[k], n)))
        facts = [found.difference, pooled, found.error, found.low, found.high, found.t, found.p, q, g]
        if null is not None and permuted is not None:
            facts += [permuted, null.family_wise(found.t)]
        rows.append(_row(name, f"{groups[0]} - {groups[1]}", sum(counts), *(one[k] for one in facts)))
    return rows


def is_found(row: Mapping[str, Any], level: float = ALPHA) -> bool:
    """Return whether a row of `group_table` has a q below ``level``."""
    return row["p_fdr"] is not None and row["p_fdr"] < level


def false_discovery(p: np.ndarray) -> np.ndarray:
    """Return the Benjamini-Hochberg q of every p. NaN (not tested) stays NaN and does not count."""
    from scipy.stats import false_discovery_control

    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def shuffled_findings(
    values: np.ndarray, controls: Sequence[Design], null: RegionNull | None = None, level: float = ALPHA
) -> list[int]:
    """Count the regions with ``q < level`` in every control analysis with shuffled labels.

    Parameters
    ----------
    values : numpy.ndarray
        ``[N, K]``, one value per subject and region.
    controls : sequence of Design
        The design with shuffled labels.
    null : RegionNull, optional
        Permutations of the real labels. They are the controls' null, too, because both shuffle the same
        labels. Without it, q is computed from the parametric p.
    level : float
        Level of q.

    Returns
    -------
    list of int
        One count per control.
    """
    found = [compare_groups(values, one) for one in controls]
    p = [one.p if null is None else null.p(one.t) for one in found]
    return [int((false_discovery(one) < level).sum()) for one in p]


def asymmetries(names: Sequence[str], values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the asymmetry ``(L - R) / (|L| + |R|)`` of regions whose names differ only in the side.

    Parameters
    ----------
    names : sequence of str
        Names of the regions, ``[K]``.
    values : numpy.ndarray
        ``[N, K]``, one value per subject and region.

    Returns
    -------
    names : list of str
        Names of the pairs, with ``*`` in place of the side.
    values : numpy.ndarray
        float64 ``[N, pairs]``; 0 where both sides are 0.
    """
    sides: dict[str, dict[str, list[int]]] = {}
    for at, name in enumerate(names):
        side = side_of(name)
        if side is not None:
            sides.setdefault(side[1], {}).setdefault(side[0], []).append(at)
    # A name with two left or two right regions is ambiguous and forms no pair.
    pairs = {
        name: (found["L"][0], found["R"][0])
        for name, found in sides.items()
        if sorted((side, len(at)) for side, at in found.items()) == [("L", 1), ("R", 1)]
    }
    left, right = (values[:, [pair[side] for pair in pairs.values()]] for side in (0, 1))
    size = np.abs(left) + np.abs(right)
    return list(pairs), np.divide(left - right, size, out=np.zeros_like(size), where=size > 0)


def _mean_facts(mean: float, variance: float, n: int) -> tuple[float, float, float, float, float]:
    from scipy import stats

    error = np.sqrt(variance / n)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error
    return mean, np.sqrt(variance), error, mean - reach, mean + reach


def _row(name: str, group: str, n: int, *facts: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(GROUP_COLUMNS)
    row |= {"name": name, "group": group, "n": n}
    for column, value in zip(list(GROUP_COLUMNS)[3:], facts, strict=False):
        row[column] = float(value) if np.isfinite(value) else None
    return row
