"""The position of a scan: the affine of its header that is used, and doubts about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from pyadx.data.scan_files import OpenedScan

ORIENTATIONS = ("auto", "sform", "qform")
KNOWN_CODES = {0: "unknown", 1: "scanner", 2: "aligned", 3: "talairach", 4: "mni", 5: "template"}
MNI = 4
_SAME_MM = 0.3  # tolerance of a corner; rounding of 32-bit quaternions moves a corner by up to 0.1 mm
_SAME_SIZE = 1e-3  # relative tolerance of voxel sizes
_SAME_DEGREES = 0.1


@dataclass(frozen=True, eq=False)
class Form:
    """An affine of a header, and the NIfTI code of its world space."""

    name: str
    code: int
    affine: np.ndarray

    @property
    def words(self) -> str:
        """Name and code, for messages."""
        return f"{self.name} (code {self.code}, {KNOWN_CODES.get(self.code, 'not defined by NIfTI')})"


@dataclass(frozen=True, eq=False)
class Geometry:
    """The position of a scan in world space.

    Attributes
    ----------
    affine : numpy.ndarray
        float64 ``[4, 4]``: voxel to world, mm, RAS+.
    source : str
        Source of the affine: ``sform``, ``qform``, or a description of another source.
    sform, qform : Form
        Affines for writing a volume on the same voxels, so that every program places it where it places
        the scan.
    units : {"mm", "unknown"}
        Unit of length in the header.
    notes : tuple of str
        Doubts, one per line, with figures.
    """

    affine: np.ndarray
    source: str
    sform: Form
    qform: Form
    units: str = "mm"
    notes: tuple[str, ...] = ()


def spans_space(affine: np.ndarray) -> bool:
    """Return whether an affine is finite and not singular."""
    if not np.isfinite(affine).all():
        return False
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(sizes.min() > 0 and abs(np.linalg.det(affine[:3, :3])) >= 1e-3 * np.prod(sizes))


def scan_geometry(file: OpenedScan, orientation: str = "auto") -> Geometry:
    """Determine the position of a scan.

    Parameters
    ----------
    file : OpenedScan
        The scan with its header, as read by nibabel and as stored.
    orientation : {"auto", "sform", "qform"}
        Affine of a NIfTI file to use. ``auto``: the sform if its code is above 0 and it is not singular,
        otherwise the qform, or only the voxel sizes if both codes are 0.

    Returns
    -------
    Geometry
        Its affine may be unusable; see `spans_space`.

    Raises
    ------
    ValueError
        If ``orientation`` is another word, or the file does not have that affine.
    """
    import nibabel as nib

    if orientation not in ORIENTATIONS:
        raise ValueError(f"orientation must be one of {', '.join(ORIENTATIONS)}, got {orientation!r}")
    image = file.image
    if isinstance(image.header, nib.Nifti1Header):
        return _nifti(image, file.block, orientation)
    if orientation != "auto":
        raise ValueError(f"has no {orientation}; only NIfTI files do")
    if isinstance(image.header, nib.MGHImage.header_class):
        return _mgh(image, file.block)
    return _analyze(image, file.has_matrix)


def _nifti(image: Any, block: bytes, orientation: str) -> Geometry:
    header = image.header
    raw = type(header)(block[: header.sizeof_hdr], check=False)
    pixdim = np.asarray(raw["pixdim"][1:4], np.float64)
    units = header.get_xyzt_units()[0]
    sform = Form("sform", int(raw["sform_code"]), np.asarray(header.get_sform(), np.float64))
    qform = Form("qform", int(raw["qform_code"]), _qform(header))
    sized = bool(np.isfinite(pixdim).all() and (pixdim > 0).all())
    notes = []
    used = _wanted(orientation, sform, qform)
    if not sized:
        taken = _sizes(sform.affine) if used is sform else header.get_zooms()[:3]
        by = "the sform says" if used is sform else "taken as"
        notes.append(f"its pixdim, the voxel size, is {_by(pixdim)} mm; {by} {_by(taken)} mm")
    if used is None:
        affine = np.asarray(header.get_base_affine(), np.float64)
        notes.append(
            f"names no space (sform and qform codes are 0): read as {_axes(affine)} from the voxel size, "
            f"{_by(_sizes(affine))} mm, centred on the origin; left and right may be exchanged"
        )
        forms = Form("sform", 0, affine), Form("qform", 0, affine)
        return Geometry(affine, "pixdim", *forms, units, tuple(notes))
    for form in (sform, qform):
        if form.code > 0 and not spans_space(form.affine) and used is not form:
            notes.append(f"its {form.words} is singular or broken; the {used.words} is used")
    notes += _disagreement(sform, qform, pixdim if sized else None, used, orientation, image.shape[:3])
    both = spans_space(sform.affine) and spans_space(qform.affine) and sform.code > 0 and qform.code > 0
    if both and sized:
        return Geometry(used.affine, used.name, sform, qform, units, tuple(notes))
    # A broken affine cannot be copied. If both codes name a space, both affines become the used one.
    codes = [used.code if form is used or form.code > 0 else 0 for form in (sform, qform)]
    written = [Form(form.name, code, used.affine) for form, code in zip((sform, qform), codes, strict=True)]
    return Geometry(used.affine, used.name, written[0], written[1], units, tuple(notes))


def _qform(header: Any) -> np.ndarray:
    from nibabel.spatialimages import HeaderDataError

    try:
        return np.asarray(header.get_qform(), np.float64)
    except (ValueError, HeaderDataError):  # the numbers are not a rotation
        return np.full((4, 4), np.nan)


def _pick(sform: Form, qform: Form) -> Form | None:
    """Return the affine by NIfTI's rules, if it is sound, or ``None`` if no space is named."""
    coded = [form for form in (sform, qform) if form.code > 0]
    sound = [form for form in coded if spans_space(form.affine)]
    return next(iter(sound or coded), None)


def _wanted(orientation: str, sform: Form, qform: Form) -> Form | None:
    if orientation == "auto":
        return _pick(sform, qform)
    form = sform if orientation == "sform" else qform
    if not spans_space(form.affine):
        raise ValueError(f"its {form.words} is singular or broken, so it cannot be used")
    return form


def _disagreement(
    sform: Form,
    qform: Form,
    pixdim: np.ndarray | None,
    used: Form,
    orientation: str,
    shape: Sequence[int],
) -> list[str]:
    """Return a note if the two affines disagree about positions or voxel sizes."""
    if not spans_space(used.affine):
        return []
    if sform.code > 0 and qform.code > 0 and spans_space(sform.affine) and spans_space(qform.affine):
        words = None if pixdim is None else difference(sform, qform, shape)
        if words:
            other = qform if used is sform else sform
            how = "as requested" if orientation != "auto" else f"orientation={other.name!r} uses the other"
            return [f"{words}; the {used.name} is used ({how})"]
        return []
    if (
        used is sform
        and pixdim is not None
        and not np.allclose(_sizes(sform.affine), pixdim, rtol=_SAME_SIZE)
    ):
        return [
            f"voxels are {_by(_sizes(sform.affine))} mm by its {sform.words} and {_by(pixdim)} mm by its "
            "pixdim; the sform is used; correct the header if pixdim is right"
        ]
    return []


def says_mni(found: Geometry, shape: Sequence[int]) -> bool:
    """Return whether a header names MNI space, and both of its affines can be the same."""
    used = found.qform if found.source == "qform" else found.sform
    other = found.sform if used is found.qform else found.qform
    if used.code != MNI or shear_note(used.affine):  # a qform cannot hold shear
        return False
    return other.code <= 0 or (spans_space(other.affine) and difference(used, other, shape) is None)


def difference(one: Form, two: Form, shape: Sequence[int]) -> str | None:
    """Describe how two affines differ on a volume's corners; ``None`` if they agree."""
    corners = np.array(list(product(*[(0, n - 1) for n in shape])), np.float64)
    places = [corners @ form.affine[:3, :3].T + form.affine[:3, 3] for form in (one, two)]
    apart = float(np.linalg.norm(places[0] - places[1], axis=1).max())
    sizes = [_sizes(form.affine) for form in (one, two)]
    same_size = np.allclose(sizes[0], sizes[1], rtol=_SAME_SIZE, atol=0)
    if apart <= _SAME_MM and same_size:
        return None
    parts = []
    axes = [_axes(form.affine) for form in (one, two)]
    if axes[0] != axes[1]:
        parts.append(f"axes {axes[0]} and {axes[1]}")
    elif (turn := _turn(one.affine, two.affine)) > _SAME_DEGREES:
        parts.append(f"turned by {turn:.1f} degrees")
    if not same_size:
        parts.append(f"voxels {_by(sizes[0])} and {_by(sizes[1])} mm")
    shift = float(np.linalg.norm(places[0].mean(0) - places[1].mean(0)))
    if shift > _SAME_MM:
        parts.append(f"centres {shift:.1f} mm apart")
    detail = f": {', '.join(parts)}" if parts else ""
    return f"its {one.words} and {two.words} disagree by up to {apart:.1f} mm{detail}"


def _mgh(image: Any, block: bytes) -> Geometry:
    affine = np.asarray(image.affine, np.float64)
    if block[28:30] != b"\0\0":
        return _one_affine(affine, "MGH header")
    # FreeSurfer's definition: coronal slices, 1 mm, centred on the origin. nibabel reads L-S-P.
    affine = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    affine[:3, 3] = -affine[:3, :3] @ np.array(image.shape[:3], np.float64) / 2
    note = (
        f"says that its orientation is not known (goodRASFlag 0): read as {_axes(affine)}, 1 x 1 x 1 mm, "
        "centred on the origin, as FreeSurfer does; left and right may be exchanged"
    )
    return _with_note(_one_affine(affine, "FreeSurfer's default"), note)


def _analyze(image: Any, has_matrix: bool) -> Geometry:
    affine = np.asarray(image.affine, np.float64)
    found = _one_affine(affine, "SPM's .mat file" if has_matrix else "Analyze header")
    if has_matrix:
        return found
    note = (
        f"is Analyze without orientation (no .mat file): read as {_axes(affine)}, "
        f"{_by(_sizes(affine))} mm; left and right may be exchanged"
    )
    return _with_note(found, note)


def _one_affine(affine: np.ndarray, source: str) -> Geometry:
    return Geometry(affine, source, Form("sform", 2, affine), Form("qform", 0, affine))


def _with_note(found: Geometry, note: str | None) -> Geometry:
    if note is None:
        return found
    return replace(found, notes=(*found.notes, note))


def shear_note(affine: np.ndarray) -> str | None:
    """Return a note if the axes of an affine are not at right angles, else ``None``."""
    axes = affine[:3, :3] / _sizes(affine)
    cosines = [abs(float(axes[:, a] @ axes[:, b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    off = float(np.degrees(np.arcsin(min(1.0, max(cosines)))))
    if off <= _SAME_DEGREES:
        return None
    return (
        f"its axes are {off:.1f} degrees from right angles (sheared), but the network gets the voxels "
        "as if at right angles; resample the scan first if that matters"
    )


def _turn(one: np.ndarray, two: np.ndarray) -> float:
    """Return the largest angle between the same axis of two affines, degrees."""
    a, b = one[:3, :3] / _sizes(one), two[:3, :3] / _sizes(two)
    # Computed from the chord, because arccos is inaccurate at small angles.
    chord = np.linalg.norm(a - b, axis=0).max() / 2
    return float(np.degrees(2 * np.arcsin(min(1.0, float(chord)))))


def _sizes(affine: np.ndarray) -> np.ndarray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _axes(affine: np.ndarray) -> str:
    import nibabel as nib

    return "-".join(code or "?" for code in nib.aff2axcodes(affine))


def _by(sizes: Any) -> str:
    return " x ".join(f"{float(size):.4g}" for size in sizes)
