"""Options for reading a cohort. A run stores them, so that later commands read it the same way."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SESSIONS = ("earliest", "all")
NATIVE = "native"


@dataclass(frozen=True)
class CohortReading:
    """All options, except the classes, that select the scans of a cohort.

    Attributes
    ----------
    images : str, optional
        ADNI: the folder of images; by default the table's folder.
    group_column : str, optional
        Column with the diagnosis.
    derivative : str, optional
        BIDS: read scans from ``derivatives/<derivative>``.
    space : str, optional
        BIDS: the space of the scans; ``native`` means file names without a space. Further entities follow
        after colons, as in fMRIPrep: ``MNI152NLin2009cAsym:res-2``, ``native:desc-preproc``.
    sessions : {"earliest", "all"}
        One scan per subject, or all scans.

    Raises
    ------
    ValueError
        If a field is not text, ``sessions`` is another word, or ``space`` has another form.
    """

    images: str | None = None
    group_column: str | None = None
    derivative: str | None = None
    space: str | None = None
    sessions: str = "earliest"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) and (value is not None or field.name == "sessions"):
                raise ValueError(f"{field.name} must be text, got {value!r}")
        if self.sessions not in SESSIONS:
            raise ValueError(f"--sessions must be one of {', '.join(SESSIONS)}, got {self.sessions!r}")
        self.variant()

    def variant(self) -> dict[str, str] | None:
        """Return the entities in `space`, such as ``{"space": "", "res": "2"}``; native is empty.

        Raises
        ------
        ValueError
            If it does not have a form like ``MNI152NLin2009cAsym:res-2``.
        """
        if self.space is None:
            return None
        label, *more = (part.strip() for part in self.space.split(":"))
        wanted = {"space": "" if label.casefold() == NATIVE else label.removeprefix("space-")}
        for part in more:
            key, dash, value = part.partition("-")
            if not key or not dash or not value:
                raise ValueError(f"--space must be like MNI152NLin2009cAsym:res-2, got {self.space!r}")
            wanted[key] = value
        if not label:
            raise ValueError(
                f"--space must be {NATIVE} or a space such as MNI152NLin2009cAsym, got nothing"
            )
        return wanted

    def facts(self) -> dict[str, str]:
        """Return the fields that differ from their defaults, for files."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_DEFAULT, name)}

    def with_changes(self, **given: str | os.PathLike[str] | None) -> "CohortReading":
        """Return a copy with new values: ``None`` keeps a field, the text ``none`` clears it."""
        changes = {name: os.fspath(value) for name, value in given.items() if value is not None}
        parts: dict[str, Any] = asdict(self)
        for name, value in changes.items():
            parts[name] = getattr(_DEFAULT, name) if value.casefold() == "none" else value
        return CohortReading(**parts)

    def describe(self) -> str:
        """Return a description for messages."""
        words = [f"--{name.replace('_', '-')} {value}" for name, value in self.facts().items()]
        return " ".join(words) or "no options"

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "CohortReading":
        """Return the object from the result of `facts`.

        Raises
        ------
        ValueError
            If it holds anything else.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(facts, Mapping) or set(facts) - known:
            raise ValueError(f"these are not options for reading a cohort: {facts!r}")
        return cls(**facts)


_DEFAULT = CohortReading()
