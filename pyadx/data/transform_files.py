"""Find the transform from a subject's map to the common space, by file names."""

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

# Spaces of a single person; a transform to one of them does not lead to a common space.
_OWN = ("T1w", "T2w", "FLAIR", "orig", "scanner", "anat", "native", "individual", "fsnative")
_FOLDER = re.compile(r"(sub|ses)-[A-Za-z0-9]+")


@dataclass(frozen=True)
class TransformFile:
    """A transform file, and the entities in its name and folders.

    Attributes
    ----------
    path : Path
        The file, absolute.
    entities : mapping
        ``sub``, ``ses``, ``from``, ``to``, ``mode`` and further entities of its name.
    """

    path: Path
    entities: Mapping[str, str]

    @property
    def label(self) -> str:
        """The subject (`subject_label`); empty if neither name nor folders contain it."""
        subject = self.entities.get("sub", "")
        return subject_label(subject) if subject else ""


def find_transforms(where: str) -> list[TransformFile]:
    """Return the transforms below a folder, or those matching a pattern such as ``xfm/sub-*.h5``.

    ``sub-`` (and ``ses-``) in a transform's name, or else in its folders' names, identify the subject. Text
    files in a folder count if they are ITK transforms.

    Raises
    ------
    ValueError
        If no transform names a subject.
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
                f"--transforms {where}: {other[0]} is not a {', '.join(SUFFIXES)}; supported are ITK's "
                "composite .h5, ITK's affine .mat, .txt or .tfm, and FSL's affine .mat"
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
    for part in path.parts[:-1]:  # the nearest folder comes last and wins
        if _FOLDER.fullmatch(part):
            key, _, value = part.partition("-")
            entities[key] = value
    return TransformFile(path, {**entities, **entities_of(path)})


def transform_of(one: MapFile, files: Sequence[TransformFile], space: str) -> TransformFile:
    """Return the transform of a map.

    If names have ``from-`` and ``to-``, as in fMRIPrep, a transform must start in the map's space, lead to
    the reference's space, and be for images (``mode-image``).

    Parameters
    ----------
    one : MapFile
        The map.
    files : sequence of TransformFile
        Transforms of all subjects.
    space : str
        Space in the reference's name; empty if the name has none.

    Raises
    ------
    ValueError
        If no transform fits, or several do; the message names the subject.
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
            f"{who} has no suitable transform: {own[0].path.name} {reasons[own[0].path]}"
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
    """Select the session's own transforms, or else those without a session, which fit all sessions."""
    session = one.entities.get("ses")
    if session is None:
        return own
    same = [file for file in own if file.entities.get("ses") == session]
    same = same or [file for file in own if "ses" not in file.entities]
    if not same:
        others = sorted({f"ses-{file.entities['ses']}" for file in own})
        raise ValueError(f"{who} has no transform: those of {one.subject} are for {', '.join(others)}")
    return same


def _why_not(file: TransformFile, one: MapFile, space: str) -> str:
    """Return the reason why a transform does not map a heatmap to the reference; empty if it does."""
    start, end = file.entities.get("from"), file.entities.get("to")
    mode, own = file.entities.get("mode", "image"), one.entities.get("space", "")
    if mode != "image":
        return f"is for {mode} (mode-{mode}); images need mode-image"
    back = bool(start and space and _same(start, space)) or end == own or (not own and end in _OWN)
    if back and end:
        return f"leads to {end}, the map's own space; the inverse transform is needed"
    if end and ((space and not _same(end, space)) or (not space and end in _OWN)):
        return f"leads to {end}, and the reference is in {space or 'another space'}"
    if start and own and start != own:
        return f"starts in {start}, and the map is in {own}"
    if start and not own and start.startswith("MNI"):
        return f"starts in {start}, but the map names no space, so it is assumed in its scan's own space"
    return ""


def _same(one: str, other: str) -> bool:
    """Return whether labels name one space; fMRIPrep adds a cohort, as in ``MNIPediatricAsym+2``."""
    return one.partition("+")[0] == other.partition("+")[0]


def _warn_of_warp(path: Path) -> None:
    ending = "0GenericAffine.mat"
    warp = path.with_name(path.name.removesuffix(ending) + "1Warp.nii.gz")
    if path.name.endswith(ending) and warp.is_file():
        warnings.warn(
            f"{path.name}: is only the affine part; {warp.name} beside it is not read; assemble both into "
            "one .h5 (ANTs' CompositeTransformUtil --assemble)",
            UserWarning,
            stacklevel=4,
        )


def space_of(reference: Path) -> dict[str, str]:
    """Return ``space`` and ``res`` in the name of an image or template (``tpl-``)."""
    entities = entities_of(reference)
    space = entities.get("space") or entities.get("tpl", "")
    found = {"space": space, "res": entities.get("res", "")} if space else {}
    return {key: value for key, value in found.items() if value}
