"""Voxelwise permutation tests with family-wise error: nilearn's `permuted_ols` on blocks of voxels."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.evaluation.groups.design import Design
from pyadx.evaluation.groups.matrix import MapMatrix

ALPHA = 0.05
# Values of a block: so few stay in a processor's cache, where a permutation costs half as much, and
# memory is the same for any number of subjects.
BLOCK = 100 << 14
_LARGEST_T = 1e9
_LEAST_NILEARN = (0, 13)  # from here on permuted_ols returns a dict of its own accord


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """What the permutations say; maps are ``[V]``.

    Attributes
    ----------
    t : numpy.ndarray
        float64, of the first group less the second; 0 where no subject differs from the others.
    p : numpy.ndarray or None
        float64, two-sided, family-wise over the voxels, of the maximum statistic; ``None`` without
        permutations.
    maxima : numpy.ndarray
        float64 ``[permutations]``, largest absolute t of each.
    shuffled : numpy.ndarray
        float64 ``[controls]``, largest absolute t with the labels of each control.
    more : dict of numpy.ndarray
        Of clusters and TFCE, where they were asked for, by nilearn's names.
    """

    t: np.ndarray
    p: np.ndarray | None
    maxima: np.ndarray
    shuffled: np.ndarray
    more: dict[str, np.ndarray]

    def threshold(self, alpha: float = ALPHA) -> float | None:
        """Return the absolute t above which a voxel has ``p < alpha``; ``None`` where none can have it."""
        # p = (1 + reached) / (1 + permutations), so that at most `need - 1` maxima may reach a voxel's t.
        need = int(np.ceil(alpha * (len(self.maxima) + 1) - 1e-9)) - 1
        return None if need < 1 else float(np.sort(self.maxima)[len(self.maxima) - need])

    def shuffled_p(self) -> np.ndarray:
        """Return the family-wise p of the strongest voxel of every control, float64 ``[controls]``."""
        return family_wise(self.shuffled, self.maxima)


@dataclass(frozen=True, eq=False)
class _Block:
    """One task: voxels of a matrix, the design, and the controls' designs."""

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

    `nilearn.mass_univariate.permuted_ols` (two-sided, with an intercept, Freedman-Lane) runs on one block
    of voxels at a time with the same seed, which draws the same permutations for each: the largest t over
    all blocks is the largest t of the whole. Voxels at which no subject differs are left out.

    Parameters
    ----------
    matrix : MapMatrix
        ``[N, V]``.
    design : Design
        Of the ``N`` subjects.
    permutations : int
        0 gives t alone.
    seed : int
        Of the permutations.
    controls : sequence of Design
        Shuffled labels. They are measured against the permutations of the real ones: those deal out
        the same labels, so that their maxima have the same distribution.
    run : callable
        As `map`, perhaps on other processes; results in the order of the blocks.
    block : int, optional
        Voxels at a time; decides memory, not the result. By default as many as have `BLOCK` values.

    Raises
    ------
    ValueError
        If nilearn is missing, or a number is negative.
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
    """Test clusters, by size and mass, or threshold-free cluster enhancement (TFCE), with nilearn.

    Needs all voxels at once (some 24 bytes per subject and voxel), and for every permutation a search for
    clusters: seconds for TFCE.

    Parameters
    ----------
    matrix, design, permutations, seed
        As for `permutation_test`.
    mask : numpy.ndarray
        bool ``[I, J, K]``, the matrix' voxels in their order.
    affine : numpy.ndarray
        ``[4, 4]``, voxel to world, mm.
    forming_p : float, optional
        Cluster-forming threshold, an uncorrected two-sided p.
    tfce : bool
        Also TFCE.
    jobs : int
        Processes; each draws permutations of its own, so that another number gives other ones.

    Returns
    -------
    dict of numpy.ndarray
        By nilearn's names: ``size``, ``mass``, ``tfce`` and ``logp_max_*`` are ``[V]``, ``h0_max_*``
        ``[permutations]``. The logarithm is to base 10, its sign is turned.
    """
    check_nilearn()
    import nibabel as nib
    from nilearn.maskers import NiftiMasker
    from nilearn.mass_univariate import permuted_ols

    # float32 as it is stored: nilearn makes several copies.
    values = np.asfortranarray(np.load(matrix.path, mmap_mode="r"))
    differs = np.ptp(values, axis=0) > 0  # the others have no t, and would join clusters as NaN
    tested = np.zeros(mask.shape, np.uint8)
    tested[mask] = differs
    masker = NiftiMasker(nib.Nifti1Image(tested, affine), dtype="float64").fit()
    values = values if differs.all() else values[:, differs]
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # of constant voxels and of header details
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
    """Return ``(1 + maxima that reach t) / (1 + maxima)``, as nilearn counts."""
    ordered = np.sort(maxima)
    reached = len(ordered) - np.searchsorted(ordered, t, side="left")
    return np.asarray((1 + reached) / (1 + len(ordered)))


def check_nilearn() -> None:
    """Raise ``ValueError`` if nilearn, which tests voxels, is missing or too old."""
    try:
        from nilearn import __version__
    except ImportError:
        raise ValueError("group statistics need nilearn: pip install 'pyadx[group]'") from None
    if tuple(int(part) for part in __version__.split(".")[:2]) < _LEAST_NILEARN:
        raise ValueError(
            f"group statistics need nilearn 0.13, found {__version__}: pip install 'pyadx[group]'"
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
    """Bound what no file can hold: of few subjects, groups may be constant and differ at a voxel.

    Bounded alike in the analysis and its permutations, so that such voxels tie.
    """
    return np.nan_to_num(t, nan=0.0, posinf=_LARGEST_T, neginf=-_LARGEST_T).clip(-_LARGEST_T, _LARGEST_T)


def _permuted(design: Design, values: np.ndarray, permutations: int, seed: int) -> dict[str, np.ndarray]:
    from nilearn.mass_univariate import permuted_ols

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # voxels that hold a value in one subject only divide by 0
        # Never a constant column: nilearn would take it for a test of the intercept and flip signs.
        found: dict[str, np.ndarray] = permuted_ols(
            design.first.astype(np.float64), values, design.covariates, n_perm=permutations,
            random_state=seed, n_jobs=1,
        )  # fmt: skip
    return found
