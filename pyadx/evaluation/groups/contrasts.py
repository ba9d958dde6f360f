"""Difference of two groups: Welch's test or a linear model, with effect size and confidence interval."""

import warnings
from dataclasses import dataclass

import numpy as np

from pyadx.evaluation.groups.design import Design

CONFIDENCE = 0.95
_ROUNDING = 1e-13  # largest standard error that is rounding only, relative to the largest absolute value
_Test = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # difference, error, degrees of freedom, p


@dataclass(frozen=True, eq=False)
class Contrast:
    """First group minus second group, for ``K`` measures. All arrays are float64 ``[K]``.

    Attributes
    ----------
    difference, error : numpy.ndarray
        Difference of the means, adjusted for covariates if there are any, and its standard error.
    low, high : numpy.ndarray
        Limits of the 95% confidence interval.
    t, df, p : numpy.ndarray
        t, its degrees of freedom, and the two-sided p. t and p are NaN where the standard error is 0, as
        for a measure that is constant within each group.
    """

    difference: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    t: np.ndarray
    df: np.ndarray
    p: np.ndarray


def compare_groups(values: np.ndarray, design: Design) -> Contrast:
    """Compare two groups: Welch's t-test without covariates, ordinary least squares with them.

    Parameters
    ----------
    values : numpy.ndarray
        Measures of all subjects, ``[N, K]``.
    design : Design
        Groups and covariates of the same ``N`` subjects.

    Returns
    -------
    Contrast
        One test per measure.

    Raises
    ------
    ValueError
        If a group has fewer than two subjects.
    """
    from scipy import stats

    measured = np.asarray(values, np.float64)
    if min(design.first.sum(), (~design.first).sum()) < 2:
        raise ValueError("each group needs at least two subjects")
    test = _welch if design.covariates is None else _model
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy warns about constant measures
        difference, error, df, p = test(measured, design)
    # Rounding gives constant measures a standard error of about 1e-17 instead of 0, and so an arbitrary t.
    constant = error <= _ROUNDING * np.abs(measured).max(0)
    t = np.divide(difference, error, out=np.full(error.shape, np.nan), where=~constant)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, df) * error
    low, high = difference - reach, difference + reach
    return Contrast(difference, error, low, high, t, df, np.where(constant, np.nan, p))


def _welch(values: np.ndarray, design: Design) -> _Test:
    from scipy import stats

    one, two = values[design.first], values[~design.first]
    found = stats.ttest_ind(one, two, axis=0, equal_var=False)
    error = np.sqrt(one.var(0, ddof=1) / len(one) + two.var(0, ddof=1) / len(two))
    difference = one.mean(0) - two.mean(0)
    return difference, error, np.broadcast_to(found.df, error.shape), found.pvalue


def _model(values: np.ndarray, design: Design) -> _Test:
    from scipy import stats

    columns = np.hstack([design.first[:, None].astype(np.float64), design.nuisance()])
    found = np.linalg.lstsq(columns, values, rcond=None)[0]
    left = values - columns @ found
    df = len(values) - columns.shape[1]
    part = design.adjusted()
    error = np.sqrt((left**2).sum(0) / df / (part @ part))
    p = 2 * stats.t.sf(np.abs(found[0] / error), df)
    return found[0], error, np.full(len(error), float(df)), p


def hedges_g(
    means: tuple[np.ndarray, np.ndarray],
    variances: tuple[np.ndarray, np.ndarray],
    counts: tuple[int, int],
) -> np.ndarray:
    """Return Hedges' g: the difference of means in units of the pooled SD, corrected for small samples.

    The correction is exact: ``J(m) = gamma(m/2) / (sqrt(m/2) gamma((m-1)/2))`` with ``m = n1 + n2 - 2``
    (Hedges 1981). Covariates are not used.

    Parameters
    ----------
    means, variances : pair of numpy.ndarray
        Mean and unbiased variance of the first and the second group, ``[K]`` each.
    counts : pair of int
        Number of subjects in each group.

    Returns
    -------
    numpy.ndarray
        float64 ``[K]``; 0 where the means are equal, NaN where both groups are constant and differ.
    """
    from scipy.special import gammaln

    m = sum(counts) - 2
    pooled = np.sqrt(sum((n - 1) * np.asarray(v) for n, v in zip(counts, variances, strict=True)) / m)
    correction = np.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / np.sqrt(m / 2)
    difference = np.asarray(means[0], np.float64) - means[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        g = np.where(difference == 0, 0.0, difference / pooled * correction)
    return np.where(np.isfinite(g), g, np.nan)
