"""Regions of an atlas in two groups: means, differences, false discovery rate, left against right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyadx.data.region_tables import side_of
from pyadx.evaluation.groups.contrasts import CONFIDENCE, compare_groups, hedges_g
from pyadx.evaluation.groups.design import Design
from pyadx.evaluation.groups.permutations import ALPHA
from pyadx.evaluation.groups.region_permutations import RegionNull

GROUP_COLUMNS: dict[str, str] = {
    "name": "The region.",
    "group": "A group, or the contrast of two of them.",
    "n": "Subjects.",
    "mean": "Mean over subjects; of the contrast the difference, adjusted for covariates if there are any.",
    "sd": "Standard deviation over subjects; of the contrast the pooled one of both groups.",
    "se": "Standard error of the mean, or of the difference.",
    "ci_low": "Lower end of its 95% confidence interval.",
    "ci_high": "Upper end.",
    "t": "Of the contrast.",
    "p": "Of the contrast, two-sided, uncorrected.",
    "p_fdr": "Its q: Benjamini-Hochberg over the regions of the table, from p_permuted where that is told.",
    "hedges_g": "Standardised difference without small-sample bias; covariates do not enter.",
    "p_permuted": "Of the contrast, two-sided, uncorrected, by permutation of subjects.",
    "p_fwe": "The same, family-wise over the regions of the table (maximum statistic).",
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
        ``[K]``, the regions.
    values : numpy.ndarray
        ``[N, K]``, one value per subject and region.
    design : Design
        Of the ``N`` subjects: Welch's test without covariates, ordinary least squares with them.
    groups : pair of str
        What the first and the second group are called.
    null : RegionNull, optional
        Permutations of the same values and design.

    Returns
    -------
    list of dict
        Three rows per region, with the keys `GROUP_COLUMNS`: either group and the contrast. ``None`` where
        there is nothing to tell.

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
    """Say whether a row of `group_table` has a q below the level."""
    return row["p_fdr"] is not None and row["p_fdr"] < level


def false_discovery(p: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg's q of every p; NaN, which nobody tested, stays and does not count."""
    from scipy.stats import false_discovery_control

    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def shuffled_findings(
    values: np.ndarray, controls: Sequence[Design], null: RegionNull | None = None, level: float = ALPHA
) -> list[int]:
    """Return in how many regions every control, whose labels were shuffled, has ``q < level``.

    Controls are measured against the permutations of the real labels, which deal out the same ones.
    """
    found = [compare_groups(values, one) for one in controls]
    p = [one.p if null is None else null.p(one.t) for one in found]
    return [int((false_discovery(one) < level).sum()) for one in p]


def asymmetries(names: Sequence[str], values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Compare left and right: ``(L - R) / (|L| + |R|)`` of regions whose names differ only in the side.

    Parameters
    ----------
    names : sequence of str
        ``[K]``.
    values : numpy.ndarray
        ``[N, K]``.

    Returns
    -------
    names : list of str
        Of the pairs, with ``*`` for the side.
    values : numpy.ndarray
        float64 ``[N, pairs]``; 0 where both sides are 0.
    """
    sides: dict[str, dict[str, list[int]]] = {}
    for at, name in enumerate(names):
        side = side_of(name)
        if side is not None:
            sides.setdefault(side[1], {}).setdefault(side[0], []).append(at)
    # Two left ones under one name are nobody's pair.
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
