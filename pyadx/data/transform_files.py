"""Which file holds the transform of a subject's map into the common space: names say it."""

import glob
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyadx.data.group_maps import MapFile, entities_of, subject_label

SUFFIXES = (".h5", ".mat", ".txt", ".tfm")
ITK_TEXT = b"#Insight Transform File"

# Spaces of one person; a transform into one of them does not lead to a common space.
_OWN = ("T1w", "T2w", "FLAIR", "orig", "scanner", "anat", "native", "individual", "fsnative")
_FOLDER = re.compile(r"(sub|ses)-[A-Za-z0-9]+")


@dataclass(frozen=True)
class TransformFile:
    """A transform and what its name and folders say.

    Attributes
    ----------
    path : Path
        The file, absolute.
    entities : mapping
        ``sub``, ``ses``, ``from``, ``to``, ``mode`` and whatever else its name has.
    """

    path: Path
    entities: Mapping[str, str]

    @property
    def label(self) -> str:
        """The subject, as `subject_label` spells it; empty where nothing says it."""
        subject = self.entities.get("sub", "")
        return subject_label(subject) if subject else ""


def find_transforms(where: str) -> list[TransformFile]:
    """Return the transforms below a folder, or those that a pattern such as ``xfm/sub-*.h5`` matches.

    Whose one is says ``sub-`` (and ``ses-``) in its name, or else in the names of its folders. Text files
    of a folder count if they are ITK's.

    Raises
    ------
    ValueError
        If there is none that names a subject.
    """
    folder = Path(where)
    if folder.is_dir():
        files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
        files = [path for path in files if not path.name.startswith(".") and _is_transform(path)]
    else:
        files = [Path(name) for name in sorted(glob.glob(where, recursive=True)) if os.path.isfile(name)]
        other = [path.name for path in files if path.suffix.lower() not in SUFFIXES]
        if other:
            raise ValueError(
                f"--transforms {where}: {other[0]} is no {', '.join(SUFFIXES)}; ITK's composite .h5, ITK's "
                "affine .mat, .txt or .tfm and FSL's affine .mat are read"
            )
    found = [_transform_file(path.absolute()) for path in files]
    found = [one for one in found if one.label]
    if not found:
        raise ValueError(
            f"--transforms {where}: no transform ({', '.join(SUFFIXES)}) there names a subject "
            "(sub-LABEL in its name or folder); give a folder, or a pattern in quotes such as "
            "'fmriprep/sub-*/anat/*.h5'"
        )
    return found


def _is_transform(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix.lower() != ".txt":
        return True
    with path.open("rb") as file:
        return file.read(len(ITK_TEXT)) == ITK_TEXT


def _transform_file(path: Path) -> TransformFile:
    entities: dict[str, str] = {}
    for part in path.parts[:-1]:  # the nearest folder says it last
        if _FOLDER.fullmatch(part):
            key, _, value = part.partition("-")
            entities[key] = value
    return TransformFile(path, {**entities, **entities_of(path)})


def transform_of(one: MapFile, files: Sequence[TransformFile], space: str) -> TransformFile:
    """Return the transform of a map.

    Where names have ``from-`` and ``to-``, as fMRIPrep writes them, a transform must start in the map's
    space and lead to the reference's, of images (``mode-image``).

    Parameters
    ----------
    one : MapFile
        The map.
    files : sequence of TransformFile
        Of everybody.
    space : str
        What the reference's name says of its space; empty where it says nothing.

    Raises
    ------
    ValueError
        If none or several fit, in one line that names the subject.
    """
    who = "_".join([one.subject, *(f"ses-{one.entities[key]}" for key in ("ses",) if key in one.entities)])
    own = [file for file in files if file.label == one.label]
    if not own:
        raise ValueError(
            f"{who} has no transform: no file of --transforms has {one.label} in its name or folder; add "
            f"it, or leave {one.subject} out of MAPS"
        )
    own = _of_session(one, own, who)
    reasons = {file.path: _why_not(file, one, space) for file in own}
    fitting = [file for file in own if not reasons[file.path]]
    if not fitting:
        raise ValueError(
            f"{who} has no transform that fits: {own[0].path.name} {reasons[own[0].path]}"
            f"{f' (and {len(own) - 1} more)' if len(own) > 1 else ''}"
        )
    if len(fitting) > 1:
        raise ValueError(
            f"{who} has {len(fitting)} transforms, {fitting[0].path.name} and {fitting[1].path.name}; give "
            "--transforms a pattern in quotes that matches one per subject, such as "
            "'fmriprep/sub-*/anat/*_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5'"
        )
    _warn_of_warp(fitting[0].path)
    return fitting[0]


def _of_session(one: MapFile, own: list[TransformFile], who: str) -> list[TransformFile]:
    """Take the session's own transforms, or else those that name none: they hold for all sessions."""
    session = one.entities.get("ses")
    if session is None:
        return own
    same = [file for file in own if file.entities.get("ses") == session]
    same = same or [file for file in own if "ses" not in file.entities]
    if not same:
        others = sorted({f"ses-{file.entities['ses']}" for file in own})
        raise ValueError(f"{who} has no transform: those of {one.subject} are of {', '.join(others)}")
    return same


def _why_not(file: TransformFile, one: MapFile, space: str) -> str:
    """Say why a transform does not bring a map to the reference; empty if nothing speaks against it."""
    start, end = file.entities.get("from"), file.entities.get("to")
    mode, own = file.entities.get("mode", "image"), one.entities.get("space", "")
    if mode != "image":
        return f"is for {mode} (mode-{mode}); images need mode-image"
    back = bool(start and space and _same(start, space)) or end == own or (not own and end in _OWN)
    if back and end:
        return f"leads to {end}, the map's own space; the transform the other way is needed"
    if end and ((space and not _same(end, space)) or (not space and end in _OWN)):
        return f"leads to {end}, and the reference is in {space or 'another space'}"
    if start and own and start != own:
        return f"starts in {start}, and the map is in {own}"
    if start and not own and start.startswith("MNI"):
        return f"starts in {start}, and the map, which names no space, is taken to be in its scan's own"
    return ""


def _same(one: str, other: str) -> bool:
    """Whether labels name one space; fMRIPrep adds a cohort, as in ``MNIPediatricAsym+2``."""
    return one.partition("+")[0] == other.partition("+")[0]


def _warn_of_warp(path: Path) -> None:
    ending = "0GenericAffine.mat"
    warp = path.with_name(path.name.removesuffix(ending) + "1Warp.nii.gz")
    if path.name.endswith(ending) and warp.is_file():
        warnings.warn(
            f"{path.name}: is the affine part alone, {warp.name} beside it is not read; assemble both into "
            "one .h5 (ANTs' CompositeTransformUtil --assemble)",
            UserWarning,
            stacklevel=4,
        )


def space_of(reference: Path) -> dict[str, str]:
    """Return ``space`` and ``res`` of an image's name, also of a template's (``tpl-``)."""
    entities = entities_of(reference)
    space = entities.get("space") or entities.get("tpl", "")
    found = {"space": space, "res": entities.get("res", "")} if space else {}
    return {key: value for key, value in found.items() if value}
