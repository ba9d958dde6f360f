"""Selection of scans in a BIDS data set: participants, sessions, and entities of a filter file."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyadx.data.cohort.bids_names import T1wFile

ANY = "*"
# Long names of entities in pybids, and therefore in filter files.
_SHORT = {
    "subject": "sub", "session": "ses", "acquisition": "acq", "ceagent": "ce", "reconstruction": "rec",
    "direction": "dir", "inversion": "inv", "modality": "mod", "processing": "proc", "resolution": "res",
    "density": "den", "description": "desc", "segmentation": "seg",
}  # fmt: skip
_ENTITIES = {
    *_SHORT.values(), "run", "echo", "flip", "mt", "part", "space", "label", "task", "chunk", "cohort",
}  # fmt: skip
_NUMBERED = ("run", "echo", "flip", "inv")  # run-1 and run-01 are the same run
# These values hold for every T1w image, so they select all. Other values would select nothing.
_FIXED = {"suffix": "T1w", "datatype": "anat"}

Wanted = tuple[str | None, ...]


@dataclass(frozen=True)
class ScanFilter:
    """The scans requested from a BIDS-App.

    Attributes
    ----------
    subjects, sessions : tuple of str
        Labels without ``sub-`` and ``ses-``; all if empty.
    entities : mapping
        Accepted values by an entity's key. ``None`` means that the entity is absent, ``"*"`` that it is
        present.
    """

    subjects: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    entities: Mapping[str, Wanted] = field(default_factory=dict)

    def choose(
        self, images: Path, names: Iterable[str], found: Mapping[str, Sequence[T1wFile]]
    ) -> tuple[list[str], dict[str, list[T1wFile]]]:
        """Return the selected subjects and their selected files.

        Parameters
        ----------
        images : Path
            The data set, for messages.
        names : iterable of str
            All subjects, such as ``sub-01``.
        found : mapping
            All T1w files by subject.

        Raises
        ------
        ValueError
            If a requested participant or session does not exist, or no T1w scan is left.
        """
        every = list(names)
        labels = {name.removeprefix("sub-"): name for name in every}
        _refuse_unknown(images, "--participant-label", "participant", self.subjects, labels)
        chosen = [labels[one] for one in dict.fromkeys(self.subjects)] or every
        if self.entities.get("sub"):
            chosen = [n for n in chosen if _among("sub", n.removeprefix("sub-"), self.entities["sub"])]
        own = {name: list(found.get(name, ())) for name in chosen}
        there = {file.entities.get("ses", "") for files in own.values() for file in files} - {""}
        _refuse_unknown(images, "--session-label", "session with a T1w scan", self.sessions, there)
        kept = {name: [file for file in files if self._takes(file)] for name, files in own.items()}
        if any(own.values()) and not any(kept.values()):
            raise ValueError(
                f"{images}: none of {sum(map(len, own.values()))} T1w scans matches {self._words()}"
            )
        return chosen, kept

    def _takes(self, file: T1wFile) -> bool:
        if self.sessions and file.entities.get("ses") not in self.sessions:
            return False
        return all(
            _among(key, file.entities.get(key), values)
            for key, values in self.entities.items()
            if key != "sub"
        )

    def _words(self) -> str:
        parts = [f"--session-label {' '.join(self.sessions)}"] if self.sessions else []
        shown = (f"{key}: {', '.join(str(v) for v in values)}" for key, values in self.entities.items())
        return " and ".join([*parts, *([f"the filter file ({'; '.join(shown)})"] if self.entities else [])])


def plain_labels(given: Iterable[str], prefix: str) -> tuple[str, ...]:
    """Return labels without their prefix, so that ``sub-01`` and ``01`` are equal."""
    return tuple(text.removeprefix(prefix) for text in given)


def read_filter_file(path: str | os.PathLike[str]) -> dict[str, Wanted]:
    """Read the selection of T1w scans from a filter file, as in fMRIPrep and other BIDS-Apps.

    Parameters
    ----------
    path : path
        JSON: ``{"t1w": {"session": "pre", "acquisition": null, "run": [1, 2]}}``. Entities have the names
        of pybids or their short keys. ``null`` means that an entity is absent, ``"*"`` that it is
        present. Entries other than ``t1w`` are ignored.

    Returns
    -------
    dict
        Accepted values by an entity's short key.

    Raises
    ------
    ValueError
        If it is not a filter file, or names an entity that T1w scans do not have.
    """
    source = Path(path)
    try:
        facts = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{source}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{source}: is not JSON ({error})") from None
    asked = facts.get("t1w") if isinstance(facts, dict) else None
    if not isinstance(asked, dict):
        raise ValueError(f'{source}: has no entry for T1w scans; expected {{"t1w": {{"session": "..."}}}}')
    found = {}
    for name, value in asked.items():
        values = value if isinstance(value, list) else [value]
        if not values or any(isinstance(one, bool | float | dict | list) for one in values):
            raise ValueError(f"{source}: {name} must be text, a whole number, null, or a list of these")
        if name in _FIXED:
            if _FIXED[name] not in values and ANY not in values:
                raise ValueError(f"{source}: {name} {value!r} is not that of a T1w scan, {_FIXED[name]}")
        else:
            found[_key(source, name)] = tuple(None if one is None else str(one) for one in values)
    return found


def _key(source: Path, name: Any) -> str:
    key = _SHORT.get(name, name)
    if key not in _ENTITIES:
        known = ", ".join(sorted({*_SHORT, *_ENTITIES} - set(_SHORT.values())))
        raise ValueError(f"{source}: unknown entity {name!r}; known entities: {known}")
    return str(key)


def _among(key: str, value: str | None, wanted: Wanted) -> bool:
    if value is None:
        return None in wanted
    given = [one for one in wanted if one is not None]
    if any(one in (ANY, value, f"{key}-{value}") for one in given):
        return True
    numbers = [int(one) for one in given if one.isdecimal()]
    return key in _NUMBERED and value.isdecimal() and int(value) in numbers


def _refuse_unknown(
    images: Path, option: str, what: str, asked: Iterable[str], there: Iterable[str]
) -> None:
    known = sorted(there)
    for label in asked:
        if label not in known:
            shown = ", ".join(known[:5]) + (f" and {len(known) - 5} others" if len(known) > 5 else "")
            raise ValueError(f"{option} {label}: {images} has no such {what}; it has {shown or 'none'}")
