"""Entities, space and processing in the name of a T1w file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from pyadx.data.cohort.reading import NATIVE
from pyadx.data.file_kinds import scan_suffix

# Entities that processing adds to the name of the raw scan.
VARIANT = ("space", "res", "den", "label", "desc")


@dataclass(frozen=True)
class T1wFile:
    """A T1w file below the folder of a subject.

    Attributes
    ----------
    path : Path
        The file.
    session : str
        Folder of its session, such as ``ses-M00``; empty without one.
    entities : dict
        Entities of its name in order, without the subject:
        ``{"ses": "M00", "run": "1", "space": "MNI"}``.
    """

    path: Path
    session: str
    entities: Mapping[str, str]

    @property
    def acquisition(self) -> tuple[tuple[str, str], ...]:
        """The acquisition: files with equal acquisitions are versions of the same scan."""
        return tuple(pair for pair in sorted(self.entities.items()) if pair[0] not in VARIANT)

    @property
    def variant(self) -> str:
        """Space and processing: ``space-MNI152NLin2009cAsym_res-2``, or ``native``."""
        parts = [f"{key}-{self.entities[key]}" for key in VARIANT if key in self.entities]
        return "_".join(parts if "space" in self.entities else [NATIVE, *parts])

    @property
    def option(self) -> str:
        """The value of ``--space`` that selects this file."""
        more = [f"{key}-{self.entities[key]}" for key in VARIANT[1:] if key in self.entities]
        return ":".join([self.entities.get("space", NATIVE), *more])

    @property
    def label(self) -> str:
        """Entities that distinguish it from other scans of its subject, without the description."""
        clean = {key: re.sub(r"[^A-Za-z0-9]", "", value) for key, value in self.entities.items()}
        return "_".join(f"{key}-{value}" for key, value in clean.items() if key != "desc" and value)

    def fits(self, wanted: Mapping[str, str]) -> bool:
        """Return whether it has these entities; an empty label means that the entity is absent."""
        return all(
            self.entities.get(key, "").casefold() == value.casefold() for key, value in wanted.items()
        )


def t1w_files(root: Path) -> list[T1wFile]:
    """Return the T1w files of a subject's folder, with and without sessions."""
    found = []
    for anat in (root / "anat", *sorted(root.glob("ses-*/anat"))):
        session = "" if anat.parent == root else anat.parent.name
        files = [file for file in sorted(anat.glob("*")) if file.name.startswith(f"{root.name}_")]
        found += [
            T1wFile(file, session, _entities(file, session)) for file in files if t1w_stem(file) is not None
        ]
    return found


def t1w_stem(name: str | PurePath) -> str | None:
    """Return the name of a T1w scan without its suffix, or ``None``; case is ignored."""
    file = PurePath(str(name).replace("\\", "/"))
    suffix = scan_suffix(file)
    # The header file represents both files of a pair.
    if not suffix or suffix == ".img":
        return None
    stem = file.name[: -len(suffix)]
    return stem if stem.casefold().endswith("_t1w") else None


def raw_stem(file: T1wFile, subject: str) -> str:
    """Return the stem of the raw scan that a file was made from."""
    parts = [f"{key}-{value}" for key, value in file.entities.items() if key not in VARIANT]
    return "_".join([subject, *parts, "T1w"])


def _entities(file: Path, session: str) -> dict[str, str]:
    stem = t1w_stem(file) or ""
    found = {"ses": session.removeprefix("ses-")} if session else {}
    for part in stem.split("_")[1:-1]:
        key, dash, value = part.partition("-")
        if dash and key.isalnum():
            found.setdefault(key, value)
    return found
