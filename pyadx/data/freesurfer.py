"""Recognise FreeSurfer's label numbers, because other atlases use them for other regions."""

import os

import numpy as np

# FreeSurferColorLUT, used by recon-all, SynthSeg, SAMSEG and FastSurfer: aseg, parts of brain stem,
# hypothalamus and cerebellum, then the parcellations of cortex and white matter.
_ASEG = (
    *(2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 26, 28, 30, 31),
    *(41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60, 62, 63),
    *(72, 77, 78, 79, 80, 81, 82, 83, 84, 85),
)
_RANGES = (
    *((165, 165), (170, 179), (200, 259), (601, 632), (801, 810)),
    *((1000, 1035), (2000, 2035), (3000, 3035), (4000, 4035), (5001, 5002), (7001, 7020), (8001, 8150)),
    *((1100, 1212), (2100, 2212), (11100, 11175), (12100, 12175), (13100, 13175), (14100, 14175)),
)
NUMBERS = frozenset((*_ASEG, *(n for first, last in _RANGES for n in range(first, last + 1))))

# Left and right of the same structure.
_SIDES = (
    *((2, 41), (3, 42), (4, 43), (5, 44), (7, 46), (8, 47), (10, 49), (11, 50), (12, 51), (13, 52)),
    *((17, 53), (18, 54), (26, 58), (28, 60), *((1000 + n, 2000 + n) for n in range(1, 36))),
)
_LEAST_KNOWN = 0.9  # share of the labelled voxels; the others may be lesions or corrections
_LEAST_NUMBERS = 0.8  # share of the numbers, if there are many
_MANY_NUMBERS = 10
_ENOUGH_PAIRS = 3


def refuse_other_atlas(
    source: str | os.PathLike[str], labels: np.ndarray, affine: np.ndarray, regions: str
) -> None:
    """Refuse a label volume that does not look like FreeSurfer's.

    There are two criteria. First, at least 90% of the voxels that are not 0 must have numbers of aseg,
    aparc+aseg or another parcellation of FreeSurfer. If there are ten numbers or more, 80% of the numbers
    must be among these, too. Second, if three or more structures have a left and a right number, most of
    them must have the left one on the left.

    Parameters
    ----------
    source : path
        Path of the labels, for the message.
    labels : numpy.ndarray
        ``[I, J, K]``, whole numbers.
    affine : numpy.ndarray
        Voxel to world, mm, RAS+.
    regions : str
        Meaning of the numbers, for the message.

    Raises
    ------
    ValueError
        If it has another atlas's numbers.
    """
    numbers, counts = np.unique(labels[labels != 0].astype(np.int64), return_counts=True)
    known = np.isin(numbers, list(NUMBERS))
    share = float(counts[known].sum() / max(counts.sum(), 1))
    few = len(numbers) >= _MANY_NUMBERS and known.mean() < _LEAST_NUMBERS
    if share < _LEAST_KNOWN or few:
        strange = ", ".join(str(n) for n in numbers[~known][:5])
        raise _refusal(
            source,
            f"{known.sum()} of its {len(numbers)} numbers, {share:.0%} of its labelled voxels, are "
            f"FreeSurfer's; not {strange}{', ...' if (~known).sum() > 5 else ''}",
            regions,
        )
    wrong, pairs = _wrong_sides(labels, affine, set(numbers[known].tolist()))
    if pairs >= _ENOUGH_PAIRS and 2 * wrong > pairs:
        raise _refusal(
            source,
            f"of {pairs} structures with a left and a right number, {wrong} have the left one on the right",
            regions,
        )


def _refusal(source: str | os.PathLike[str], found: str, regions: str) -> ValueError:
    return ValueError(
        f"{source}: does not look like FreeSurfer's aseg or aparc+aseg ({found}), so {regions} would be "
        "other regions; give labels of FreeSurfer, FastSurfer or SynthSeg, or, in Python, masks "
        "{name: mask} to pyadx.evaluation.localization"
    )


def _wrong_sides(labels: np.ndarray, affine: np.ndarray, present: set[int]) -> tuple[int, int]:
    """Return the number of structures with left and right exchanged, and the number with both sides."""
    from scipy import ndimage

    pairs = [(left, right) for left, right in _SIDES if left in present and right in present]
    if len(pairs) < _ENOUGH_PAIRS:
        return 0, len(pairs)
    numbers = [number for pair in pairs for number in pair]
    centres = np.array(ndimage.center_of_mass(np.ones(labels.shape, np.uint8), labels, numbers))
    right = (centres @ affine[0, :3]).reshape(-1, 2)
    return int((right[:, 0] > right[:, 1]).sum()), len(pairs)
