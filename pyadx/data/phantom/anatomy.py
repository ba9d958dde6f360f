"""Anatomy of the MNI152 template: T1 intensities and approximate regions with FreeSurfer's numbers."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from pyadx.extras import needed_for
from pyadx.short_reprs import short_repr

# FreeSurfer's numbers (FreeSurferColorLUT), left and right.
WHITE_MATTER = (2, 41)
CORTEX = (3, 42)
VENTRICLE = (4, 43)
CEREBELLUM = (8, 47)
HIPPOCAMPUS = (17, 53)
CSF = 24
LABEL_NAMES = {
    2: "Left-Cerebral-White-Matter",
    3: "Left-Cerebral-Cortex",
    4: "Left-Lateral-Ventricle",
    8: "Left-Cerebellum-Cortex",
    17: "Left-Hippocampus",
    24: "CSF",
    41: "Right-Cerebral-White-Matter",
    42: "Right-Cerebral-Cortex",
    43: "Right-Lateral-Ventricle",
    47: "Right-Cerebellum-Cortex",
    53: "Right-Hippocampus",
}

# MNI mm. Centres and semi-axes of ellipsoids for the right side; the left side is mirrored.
_HIPPOCAMPUS = ((27.0, -23.0, -14.0), (8.0, 19.0, 7.0))
_HIPPOCAMPUS_TILT = 20.0  # degrees: the tail is higher than the head
_DEEP_GREY = ((17.0, -6.0, 4.0), (22.0, 26.0, 16.0))
_VENTRICLE_BOX = ((1.5, 42.0), (-56.0, 36.0), (-16.0, 34.0))  # |x|, y, z
_GREY = 0.5
_DARK = 0.52  # share of white matter's intensity


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The template and its regions, at 1 mm.

    Attributes
    ----------
    t1 : numpy.ndarray
        float32 ``[X, Y, Z]``, zero outside the brain, 1 at its brightest.
    labels : numpy.ndarray
        int16, FreeSurfer's numbers (`LABEL_NAMES`); 0 outside and in unlabelled tissue (deep grey
        matter, brain stem).
    affine : numpy.ndarray
        Voxel to MNI millimetres.
    """

    t1: np.ndarray
    labels: np.ndarray
    affine: np.ndarray

    __repr__ = short_repr

    def mask(self, numbers: tuple[int, ...]) -> np.ndarray:
        """Return the union of the labels' masks, bool ``[X, Y, Z]``."""
        return np.isin(self.labels, numbers)


@cache
def mni152_anatomy() -> Anatomy:
    """Return the MNI152 template with region masks derived from it.

    The masks are approximate. Cortex: grey-matter template above 0.5, without the hippocampus, deep grey
    matter and cerebellum. Lateral ventricles: the dark cavity around the midline that is neither grey nor
    white matter, in one piece on each side. Hippocampus: tilted ellipsoids at its MNI coordinates, clipped
    to grey matter.

    Raises
    ------
    ValueError
        If nilearn, which carries the template, is not installed.
    """
    with needed_for("the MNI152 template, from which the synthetic cohort is made,"):
        from nilearn import datasets
    image = datasets.load_mni152_template(resolution=1)
    t1 = np.asarray(image.dataobj, np.float32)
    grey = np.asarray(datasets.load_mni152_gm_template(resolution=1).dataobj, np.float32)
    white = np.asarray(datasets.load_mni152_wm_template(resolution=1).dataobj, np.float32)
    brain = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    t1 = np.where(brain & (t1 > 1e-6), t1, np.float32(0))
    affine = np.asarray(image.affine, float)
    return Anatomy(t1, _labels(t1, grey, white, affine), affine)


def _labels(t1: np.ndarray, grey: np.ndarray, white: np.ndarray, affine: np.ndarray) -> np.ndarray:
    x, y, z = (
        (affine[a, a] * np.arange(n) + affine[a, 3]).reshape([-1 if b == a else 1 for b in range(3)])
        for a, n in enumerate(t1.shape)
    )
    side = np.abs(x)
    dark = _DARK * float(np.median(t1[white > 0.9]))
    # Below the tentorium, which slopes down towards the back; the temporal lobes are beside it.
    cerebellum = (z < -10.0 - 0.33 * np.maximum(-y - 45.0, 0)) & (y < -36.0) & (side < -10.0 - y)
    hippocampus = _ellipsoid(side, y, z, *_HIPPOCAMPUS, _HIPPOCAMPUS_TILT) & (grey > 0.3)
    deep = _ellipsoid(side, y, z, *_DEEP_GREY)
    stem = (side < 16) & (z < -10) & (y > -50) & (y < -8)
    cavity = (t1 > 0) & (t1 < dark) & (grey < _GREY) & (white < _GREY)
    box = np.ones(t1.shape, bool)
    for axis, (low, high) in zip((side, y, z), _VENTRICLE_BOX, strict=True):
        box &= (axis >= low) & (axis <= high)

    labels = np.zeros(t1.shape, np.int16)
    left = np.broadcast_to(x < 0, t1.shape)

    def paint(mask: np.ndarray, numbers: tuple[int, int]) -> None:
        labels[mask & left], labels[mask & ~left] = numbers

    labels[(t1 > 0) & (grey < _GREY) & (white < _GREY) & (t1 < dark)] = CSF
    paint((white >= _GREY) & ~cerebellum & ~stem, WHITE_MATTER)
    paint((grey > _GREY) & ~cerebellum & ~deep & ~stem, CORTEX)
    paint((grey > _GREY) & cerebellum, CEREBELLUM)
    paint(hippocampus, HIPPOCAMPUS)
    for half, number in zip((left, ~left), VENTRICLE, strict=True):
        labels[_largest_piece(cavity & box & half)] = number
    return labels


def _ellipsoid(
    side: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    centre: tuple[float, float, float],
    half_axes: tuple[float, float, float],
    tilt: float = 0.0,
) -> np.ndarray:
    """Return the inside of an ellipsoid that is tilted in the sagittal plane, degrees, tail up."""
    angle = np.deg2rad(tilt)
    dx, dy, dz = side - centre[0], y - centre[1], z - centre[2]
    along = np.cos(angle) * dy - np.sin(angle) * dz
    up = np.sin(angle) * dy + np.cos(angle) * dz
    a, b, c = half_axes
    return (dx / a) ** 2 + (along / b) ** 2 + (up / c) ** 2 <= 1


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    opened = ndimage.binary_opening(mask, iterations=1)
    pieces, count = ndimage.label(opened)
    if count == 0:
        return mask
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    # Opening removes the thin horns; dilation restores the voxels beside the remaining part.
    return mask & ndimage.binary_dilation(largest, iterations=2)
