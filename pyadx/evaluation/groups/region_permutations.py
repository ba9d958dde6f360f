"""Permutation tests of regions: p of each region, uncorrected and family-wise over all regions."""

from dataclasses import dataclass

import numpy as np

from pyadx.evaluation.groups.contrasts import compare_groups
from pyadx.evaluation.groups.design import Design

_COLUMNS = 1 << 15  # regions times permutations per step: about 30 MB for 100 subjects
_ROUNDING = 1e-9  # relative: largest rounding error between two t of the same labels


@dataclass(frozen=True, eq=False)
class RegionNull:
    """Null distribution of every region's t.

    Attributes
    ----------
    t : numpy.ndarray
        float64 ``[permutations, K]``: absolute t of each permutation; 0 where t is not defined.
    """

    t: np.ndarray

    def p(self, t: np.ndarray) -> np.ndarray:
        """Return the uncorrected two-sided p of every region, float64 ``[K]``; NaN where ``t`` is NaN."""
        reached = (self.t >= np.abs(t) * (1 - _ROUNDING)).sum(0)
        return np.where(np.isnan(t), np.nan, (1 + reached) / (1 + len(self.t)))

    def family_wise(self, t: np.ndarray) -> np.ndarray:
        """Return the two-sided family-wise p (largest t of all regions), float64 ``[K]``; NaN as ``t``."""
        largest = self.t.max(1, initial=0.0)[:, None]
        reached = (largest >= np.abs(t) * (1 - _ROUNDING)).sum(0)
        return np.where(np.isnan(t), np.nan, (1 + reached) / (1 + len(self.t)))


def permute_regions(values: np.ndarray, design: Design, *, permutations: int, seed: int = 0) -> RegionNull:
    """Compute every region's t with permuted subjects.

    A permutation moves all regions of a subject together, which keeps the correlation between regions.
    With covariates, the residuals on them are permuted [1]_. The statistic is that of `compare_groups`.
    Welch's t stays valid if the groups also differ in variance [2]_.

    Parameters
    ----------
    values : numpy.ndarray
        Values of all subjects, ``[N, K]``.
    design : Design
        Groups and covariates of the same ``N`` subjects.
    permutations : int
        Number of permutations, at least 1.
    seed : int
        Seed of the permutations.

    Returns
    -------
    RegionNull
        t of every permutation and region.

    Raises
    ------
    ValueError
        If a group has fewer than two subjects.

    References
    ----------
    .. [1] Freedman D, Lane D (1983). A nonstochastic interpretation of reported significance levels.
       Journal of Business & Economic Statistics 1(4), 292-298.
    .. [2] Janssen A (1997). Studentized permutation tests for non-i.i.d. hypotheses and the generalized
       Behrens-Fisher problem. Statistics & Probability Letters 36, 9-21.
    """
    measured = np.asarray(values, np.float64)
    basis = np.linalg.qr(design.nuisance())[0]
    left = measured - basis @ (basis.T @ measured)
    # Rounding gives constant regions nonzero residuals, and so an arbitrary t.
    left[:, np.ptp(measured, axis=0) == 0] = 0
    subjects, regions = left.shape
    generator = np.random.default_rng([seed, 2])
    found = np.zeros((permutations, regions))
    step = max(1, _COLUMNS // max(1, regions))
    for start in range(0, permutations, step):
        stop = min(permutations, start + step)
        dealt = np.stack([generator.permutation(subjects) for _ in range(stop - start)])
        columns = left[dealt].transpose(1, 0, 2).reshape(subjects, -1)
        found[start:stop] = compare_groups(columns, design).t.reshape(stop - start, regions)
    return RegionNull(np.nan_to_num(np.abs(found), nan=0.0))
