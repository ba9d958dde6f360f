"""Two groups and covariates as the columns of a linear model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Covariate:
    """A column of the participants' table.

    Attributes
    ----------
    name : str
        Name of the column.
    cells : tuple of str
        One cell per subject. None may be empty.
    category : bool
        Treat the cells as categories even if they look like numbers.
    """

    name: str
    cells: tuple[str, ...]
    category: bool = False


@dataclass(frozen=True, eq=False)
class Design:
    """Design of a comparison of two groups: group labels and covariates of ``N`` subjects.

    Attributes
    ----------
    first : numpy.ndarray
        bool ``[N]``: True for subjects of the first group of the contrast.
    covariates : numpy.ndarray or None
        float64 ``[N, C]``: centred columns, without an intercept.
    columns : tuple of str
        Names of these columns, such as ``age`` or ``site[B]``.
    """

    first: np.ndarray
    covariates: np.ndarray | None = None
    columns: tuple[str, ...] = ()

    def shuffled(self, generator: np.random.Generator) -> "Design":
        """Return the design with shuffled group labels. Covariates stay with their subjects."""
        return Design(generator.permutation(self.first), self.covariates, self.columns)

    def adjusted(self) -> np.ndarray:
        """Return the residual of the first group's indicator on the nuisance columns, float64 ``[N]``."""
        x = self.first.astype(np.float64)
        basis = np.linalg.qr(self.nuisance())[0]
        return np.asarray(x - basis @ (basis.T @ x))

    def nuisance(self) -> np.ndarray:
        """Return the nuisance columns: intercept and covariates, float64 ``[N, 1 + C]``."""
        ones = np.ones((len(self.first), 1))
        return ones if self.covariates is None else np.hstack([ones, self.covariates])


def make_design(first: Sequence[bool] | np.ndarray, covariates: Sequence[Covariate] = ()) -> Design:
    """Build a design. Numbers are centred; categories become centred indicators of all but the first one.

    Parameters
    ----------
    first : sequence of bool
        ``[N]``: True for subjects of the first group of the contrast.
    covariates : sequence of Covariate
        Covariates of the same subjects, in the same order.

    Returns
    -------
    Design
        Groups and coded covariates.

    Raises
    ------
    ValueError
        If a covariate is constant, if a column is a linear combination of the others, if the covariates
        determine the groups, or if there are too few subjects for so many columns.
    """
    group = np.asarray(first, bool)
    names: list[str] = []
    columns: list[np.ndarray] = []
    for covariate in covariates:
        found = _coded(covariate)
        if not found:
            raise ValueError(
                f"covariate {covariate.name!r} is {covariate.cells[0]!r} for every subject; leave it out"
            )
        names += [name for name, _ in found]
        columns += [column for _, column in found]
    if not columns:
        return Design(group)
    coded = np.stack(columns, 1)
    coded -= coded.mean(0)
    if len(group) <= coded.shape[1] + 2:
        raise ValueError(
            f"{len(group)} subjects are too few for the groups and {coded.shape[1]} columns of covariates "
            f"({', '.join(names)[:200]}); leave some covariates out"
        )
    _check_rank(group, coded, names)
    return Design(group, coded, tuple(names))


def _coded(covariate: Covariate) -> list[tuple[str, np.ndarray]]:
    numbers = None if covariate.category else _numbers(covariate.cells)
    if numbers is not None:
        return [] if np.ptp(numbers) == 0 else [(covariate.name, numbers)]
    cells = np.array(covariate.cells)
    return [
        (f"{covariate.name}[{value}]", (cells == value).astype(np.float64))
        for value in sorted(set(covariate.cells))[1:]
    ]


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _check_rank(group: np.ndarray, coded: np.ndarray, names: Sequence[str]) -> None:
    """Raise ``ValueError`` if a column depends linearly on others, and name the first such column."""
    spread = coded / np.linalg.norm(coded, axis=0)
    indicator = (group - group.mean())[:, None]
    for last in range(1, len(names) + 1):
        if np.linalg.matrix_rank(spread[:, :last], tol=1e-8) < last:
            raise ValueError(
                f"covariate {names[last - 1]!r} follows from the other covariates (it is a linear "
                "combination of them); leave one of them out"
            )
    whole = np.hstack([spread, indicator / np.linalg.norm(indicator)])
    if np.linalg.matrix_rank(whole, tol=1e-8) < whole.shape[1]:
        raise ValueError(
            f"the groups follow from the covariates ({', '.join(names)[:200]}), so no difference is "
            "left to test; leave some covariates out"
        )
