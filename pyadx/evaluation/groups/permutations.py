"""Voxelwise permutation tests with family-wise error control: nilearn's `permuted_ols`, block by block."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.evaluation.groups.design import Design
from pyadx.evaluation.groups.matrix import MapMatrix

ALPHA = 0.05
# Values per block. Blocks of this size fit in the processor cache, which halves the time per permutation,
# and memory does not grow with the number of subjects.
BLOCK = 100 << 14
_LARGEST_T = 1e9
_LEAST_NILEARN = (0, 13)  # from this version on, permuted_ols returns a dict by default


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Result of a permutation test of ``V`` voxels.

    Attributes
    ----------
    t : numpy.ndarray
        float64 ``[V]``: t of the first group minus the second; 0 where all subjects have the same value.
    p : numpy.ndarray or None
        float64 ``[V]``: two-sided p, family-wise over the voxels by the maximum statistic. ``None`` without
        permutations.
    maxima : numpy.ndarray
        float64 ``[permutations]``: largest absolute t of each permutation.
    shuffled : numpy.ndarray
        float64 ``[controls]``: largest absolute t with the shuffled labels of each control.
    more : dict of numpy.ndarray
        Not used by `permutation_test`, which leaves it empty; `cluster_test` returns its results itself.
    """

    t: np.ndarray
    p: np.ndarray | None
    maxima: np.ndarray
    shuffled: np.ndarray
    more: dict[str, np.ndarray]

    def threshold(self, alpha: float = ALPHA) -> float | None:
        """Return the absolute t above which ``p < alpha``; ``None`` if there are too few permutations."""
        # p = (1 + reached) / (1 + permutations), so at most `need - 1` maxima may reach a voxel's t.
        need = int(np.ceil(alpha * (len(self.maxima) + 1) - 1e-9)) - 1
        return None if need < 1 else float(np.sort(self.maxima)[len(self.maxima) - need])

    def shuffled_p(self) -> np.ndarray:
        """Return the family-wise p of the strongest voxel of every control, float64 ``[controls]``."""
        return family_wise(self.shuffled, self.maxima)


@dataclass(frozen=True, eq=False)
class _Block:
    """One task for a process: a block of voxels, the design, and the controls' designs."""

    matrix: MapMatrix
    start: int
    stop: int
    design: Design
    controls: tuple[Design, ...]
    permutations: int
    seed: int


def permutation_test(
    matrix: MapMatrix,
    design: Design,
    *,
    permutations: int = 1000,
    seed: int = 0,
    controls: Sequence[Design] = (),
    run: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = map,
    block: int | None = None,
) -> PermutationTest:
    """Test every voxel for a difference of the groups.

    `nilearn.mass_univariate.permuted_ols` (two-sided, with an intercept, Freedman-Lane) tests one block of
    voxels at a time. All blocks use the same seed and so the same permutations. The largest t of a
    permutation over all blocks is therefore its largest t over all voxels. Voxels where all subjects have
    the same value are not tested.

    Parameters
    ----------
    matrix : MapMatrix
        Maps of all subjects, ``[N, V]``.
    design : Design
        Groups and covariates of the ``N`` subjects.
    permutations : int
        Number of permutations; 0 computes t only.
    seed : int
        Seed of the permutations.
    controls : sequence of Design
        The design with shuffled labels. Controls use the permutations of the real labels as their null.
        Both shuffle the same labels, so the maxima have the same distribution.
    run : callable
        Works like `map`, possibly in other processes. Results must keep the order of the blocks.
    block : int, optional
        Voxels per block. It affects memory, not the result. By default a block holds `BLOCK` values.

    Returns
    -------
    PermutationTest
        t, p and the maxima of permutations and controls; ``more`` is empty.

    Raises
    ------
    ValueError
        If nilearn is missing or too old, or ``permutations`` or ``seed`` is negative.
    """
    check_nilearn()
    if permutations < 0 or seed < 0:
        raise ValueError(f"permutations and seed must not be negative, got {permutations} and {seed}")
    voxels = block or max(1, BLOCK // matrix.shape[0])
    tasks = (
        _Block(matrix, start, stop, design, tuple(controls), permutations, seed)
        for start, stop in matrix.blocks(voxels)
    )
    parts: list[np.ndarray] = []
    maxima, shuffled = np.zeros(permutations), np.zeros(len(controls))
    for t, block_maxima, block_shuffled in run(_test_block, tasks):
        parts.append(t)
        maxima, shuffled = np.maximum(maxima, block_maxima), np.maximum(shuffled, block_shuffled)
    whole = np.concatenate(parts)
    p = family_wise(np.abs(whole), maxima) if permutations else None
    return PermutationTest(whole, p, maxima, shuffled, {})


def cluster_test(
    matrix: MapMatrix,
    design: Design,
    mask: np.ndarray,
    affine: np.ndarray,
    *,
    permutations: int,
    seed: int = 0,
    forming_p: float | None = None,
    tfce: bool = False,
    jobs: int = 1,
) -> dict[str, np.ndarray]:
    """Test clusters by size and mass, or by threshold-free cluster enhancement (TFCE), with nilearn.

    This holds all voxels in memory (about 24 bytes per subject and voxel). Each permutation searches for
    clusters, which takes seconds with TFCE.

    Parameters
    ----------
    matrix, design, permutations, seed
        As for `permutation_test`.
    mask : numpy.ndarray
        bool ``[I, J, K]``: the voxels of the matrix's columns, in C order.
    affine : numpy.ndarray
        Voxel-to-world matrix ``[4, 4]``, mm.
    forming_p : float, optional
        Cluster-forming threshold, an uncorrected two-sided p.
    tfce : bool
        Also run TFCE.
    jobs : int
        Number of processes. Each one draws its own permutations, so they depend on this number.

    Returns
    -------
    dict of numpy.ndarray
        By nilearn's names: ``size``, ``mass``, ``tfce`` and ``logp_max_*`` (``-log10 p``) are ``[V]``;
        ``h0_max_*`` are ``[permutations]``.

    Raises
    ------
    ValueError
        If nilearn is missing or too old.
    """
    check_nilearn()
    import nibabel as nib
    from nilearn.maskers import NiftiMasker
    from nilearn.mass_univariate import permuted_ols

    # Stays float32, because nilearn makes several copies.
    values = np.asfortranarray(np.load(matrix.path, mmap_mode="r"))
    differs = np.ptp(values, axis=0) > 0  # the others have t = NaN, and NaN would join clusters
    tested = np.zeros(mask.shape, np.uint8)
    tested[mask] = differs
    masker = NiftiMasker(nib.Nifti1Image(tested, affine), dtype="float64").fit()
    values = values if differs.all() else values[:, differs]
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # about constant voxels and header details
        found = permuted_ols(
            design.first.astype(np.float64), values, design.covariates, n_perm=permutations,
            random_state=seed, n_jobs=jobs, masker=masker, threshold=forming_p, tfce=tfce,
        )  # fmt: skip
    wanted = {name: one[0] for name, one in found.items() if name.endswith(("size", "mass", "tfce"))}
    return {name: one if name.startswith("h0") else _spread(one, differs) for name, one in wanted.items()}


def _spread(values: np.ndarray, differs: np.ndarray) -> np.ndarray:
    whole = np.zeros(differs.shape, np.float64)
    whole[differs] = values
    return whole


def family_wise(t: np.ndarray, maxima: np.ndarray) -> np.ndarray:
    """Return the family-wise p of each t: ``(1 + n_reached) / (1 + n_maxima)``, as nilearn computes it.

    Parameters
    ----------
    t : numpy.ndarray
        Absolute t, any shape.
    maxima : numpy.ndarray
        Largest absolute t of each permutation, ``[permutations]``.
    """
    ordered = np.sort(maxima)
    reached = len(ordered) - np.searchsorted(ordered, t, side="left")
    return np.asarray((1 + reached) / (1 + len(ordered)))


def check_nilearn() -> None:
    """Raise ``ValueError`` if nilearn is missing or too old."""
    try:
        from nilearn import __version__
    except ImportError:
        raise ValueError("group statistics need nilearn: pip install 'pyadx[group]'") from None
    if tuple(int(part) for part in __version__.split(".")[:2]) < _LEAST_NILEARN:
        raise ValueError(
            f"group statistics need nilearn 0.13 or newer, found {__version__}: pip install 'pyadx[group]'"
        )


def _test_block(task: _Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = task.matrix.block(task.start, task.stop)
    t = np.zeros(values.shape[1])
    differs = np.ptp(values, axis=0) > 0
    if not differs.any():
        return t, np.zeros(task.permutations), np.zeros(len(task.controls))
    values = np.asfortranarray(values[:, differs])
    found = _permuted(task.design, values, task.permutations, task.seed)
    t[differs] = _finite(found["t"][0])
    maxima = _finite(found["h0_max_t"][0]) if task.permutations else np.zeros(0)
    controls = [_permuted(design, values, 0, task.seed)["t"][0] for design in task.controls]
    return t, maxima, np.array([np.abs(_finite(one)).max() for one in controls])


def _finite(t: np.ndarray) -> np.ndarray:
    """Replace infinite and NaN t. With few subjects both groups may be constant at a voxel and yet differ.

    The bound is the same for the analysis and its permutations, so such voxels tie.
    """
    return np.nan_to_num(t, nan=0.0, posinf=_LARGEST_T, neginf=-_LARGEST_T).clip(-_LARGEST_T, _LARGEST_T)


def _permuted(design: Design, values: np.ndarray, permutations: int, seed: int) -> dict[str, np.ndarray]:
    from nilearn.mass_univariate import permuted_ols

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # voxels where only one subject has a value divide by 0
        # No constant column here: nilearn would test the intercept instead, and flip signs.
        found: dict[str, np.ndarray] = permuted_ols(
            design.first.astype(np.float64), values, design.covariates, n_perm=permutations,
            random_state=seed, n_jobs=1,
        )  # fmt: skip
    return found
