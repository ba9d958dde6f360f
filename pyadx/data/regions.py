"""Anatomical regions of a scan, from label volumes with FreeSurfer's numbers or from masks."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pyadx.data.flatness import refuse_flat
from pyadx.data.freesurfer import refuse_other_atlas
from pyadx.data.scans import Scan, read_volume

# FreeSurferColorLUT. aseg: cerebral cortex 3, 42; lateral ventricle 4, 43 and its inferior horn 5, 44;
# hippocampus 17, 53. aparc+aseg divides the cortex into 1000-1035 and 2000-2035, where 1004 and 2004 are
# the corpus callosum.
REGIONS: dict[str, tuple[int, ...]] = {
    "cortex": (
        3,
        42,
        *(n for n in range(1000, 1036) if n != 1004),
        *(n for n in range(2000, 2036) if n != 2004),
    ),
    "ventricle": (4, 5, 43, 44),
    "hippocampus": (17, 53),
}
UNION = "union"
_LEAST_INSIDE = (
    0.9  # share of a label volume's regions in the scan's field of view; less means another space
)


def read_labels(path: str | os.PathLike[str]) -> Scan:
    """Read a label volume: NIfTI or MGZ, whole numbers.

    Raises
    ------
    ValueError
        If it cannot be read, or holds values that are not labels.
    """
    labels = read_volume(path)
    if not np.array_equal(labels.data, np.rint(labels.data)) or labels.data.min() < 0:
        raise ValueError(
            f"{labels.path}: holds negative or fractional numbers; expected a label volume or mask"
        )
    return labels


def regions_on_scan(
    labels: Scan, scan: Scan, regions: Mapping[str, Sequence[int]] = REGIONS, *, union: bool = True
) -> dict[str, np.ndarray]:
    """Return masks of regions on the voxels of a scan, by nearest neighbour.

    Parameters
    ----------
    labels : Scan
        Label volume of the same head in the same space, on any grid.
    scan : Scan
        The scan, or another object with an affine and a shape.
    regions : mapping
        Label numbers by name.
    union : bool
        Also return the union of all regions, under ``"union"``.

    Returns
    -------
    dict
        bool ``[I, J, K]`` by name, in the scan's own axis order.

    Raises
    ------
    ValueError
        If the two are not in the same space, or a region has no voxel. If ``regions`` are FreeSurfer's,
        also if the label volume has another atlas's numbers.
    """
    refuse_flat(labels.path, labels.data, "label volume")
    wanted = np.isin(labels.data, [number for numbers in regions.values() for number in numbers])
    if not wanted.any():
        raise ValueError(
            f"{labels.path}: holds none of the regions {', '.join(regions)}; are its numbers FreeSurfer's?"
        )
    if regions is REGIONS:
        refuse_other_atlas(labels.path, labels.data, labels.affine, ", ".join(REGIONS))
    on_scan = labels_on_scan(labels, scan, wanted)
    masks = {name: np.isin(on_scan, list(numbers)) for name, numbers in regions.items()}
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        raise ValueError(f"{labels.path}: has no voxel of the region {empty[0]}")
    if union:
        masks[UNION] = np.logical_or.reduce(list(masks.values()))
    return masks


def labels_on_scan(labels: Scan, scan: Scan, wanted: np.ndarray | None = None) -> np.ndarray:
    """Return a label volume on the voxels of a scan, int32, by nearest neighbour.

    Parameters
    ----------
    labels, scan : Scan
        Label volume and scan in the same world space.
    wanted : numpy.ndarray, optional
        Voxels of ``labels`` that must be in the scan's field of view; by default those above 0.

    Raises
    ------
    ValueError
        If a tenth of these voxels or more is outside.
    """
    from scipy import ndimage

    to_labels = np.linalg.inv(labels.affine) @ scan.affine
    _check_overlap(labels, scan, labels.data > 0 if wanted is None else wanted)
    if labels.data.shape == scan.data.shape and np.allclose(to_labels, np.eye(4), atol=1e-4):
        return labels.data.astype(np.int32)
    return ndimage.affine_transform(
        labels.data.astype(np.int32),
        to_labels[:3, :3],
        offset=to_labels[:3, 3],
        output_shape=scan.data.shape,
        order=0,
        mode="constant",
    )


def read_mask(path: str | os.PathLike[str], scan: Scan) -> np.ndarray:
    """Read a mask and resample it to the voxels of a scan, bool; voxels that are not 0 are inside.

    Raises
    ------
    ValueError
        If it cannot be read, is not in the scan's space, or is empty on the scan's voxels.
    """
    mask = read_labels(path)
    refuse_flat(mask.path, mask.data, "mask")
    found = labels_on_scan(mask, scan) > 0
    if not found.any():
        raise ValueError(f"{mask.path}: has no voxel on the grid of {scan.path.name}")
    return found


def find_labels(cohort: str | os.PathLike[str], subject: str, kind: str) -> Path:
    """Find the label volume of a subject in a data set.

    Parameters
    ----------
    cohort : path
        Folder of the data set.
    subject : str
        Id of the subject in the data set.
    kind : str
        ``aseg`` or ``aparc+aseg``: FreeSurfer's own layout below ``derivatives`` or, for ``aseg``, BIDS
        ``*_dseg.nii.gz``. Other values are a path pattern relative to the data set, with ``{subject}``
        for the id.

    Raises
    ------
    ValueError
        If there is no such file, or more than one.
    """
    if kind in ("aseg", "aparc+aseg"):
        patterns = [f"derivatives/*/{subject}/mri/{kind}.{end}" for end in ("mgz", "nii.gz")]
        if kind == "aseg":
            patterns += [f"derivatives/*/{subject}/{part}anat/*_dseg.nii.gz" for part in ("", "ses-*/")]
    elif "{subject}" in kind and not Path(kind).is_absolute() and ".." not in Path(kind).parts:
        patterns = [kind.replace("{subject}", subject)]
    else:
        raise ValueError(
            "--regions must be aseg, aparc+aseg or a pattern below the data set with {subject}, "
            f"got {kind!r}"
        )
    found = sorted({path for pattern in patterns for path in Path(cohort).glob(pattern)})
    if len(found) != 1:
        what = "no label volume" if not found else f"{len(found)} label volumes ({found[0].name}, ...)"
        raise ValueError(f"{cohort}: {what} of {subject} at {' or '.join(patterns)}; give another pattern")
    return found[0]


def _check_overlap(labels: Scan, scan: Scan, wanted: np.ndarray) -> None:
    refuse_flat(labels.path, labels.data, "label volume")
    at = np.argwhere(wanted)
    to_scan = np.linalg.inv(scan.affine) @ labels.affine
    placed = at @ to_scan[:3, :3].T + to_scan[:3, 3]
    inside = ((placed >= -0.5) & (placed <= np.array(scan.data.shape) - 0.5)).all(1).mean()
    if inside < _LEAST_INSIDE:
        raise ValueError(
            f"{labels.path} and {scan.path}: only {inside:.0%} of the regions lie in the scan's field of "
            "view; their affines do not place them in the same space (register one to the other first)"
        )
