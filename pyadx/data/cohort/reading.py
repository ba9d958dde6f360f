"""How a cohort is read: what a run remembers, so that later commands read it the same way."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SESSIONS = ("earliest", "all")
NATIVE = "native"


@dataclass(frozen=True)
class CohortReading:
    """Everything but the classes that decides which scans of a cohort are taken.

    Attributes
    ----------
    images : str, optional
        ADNI: the folder of images, if it is not the table's.
    group_column : str, optional
        Column with the diagnosis.
    derivative : str, optional
        BIDS: scans are taken from ``derivatives/<derivative>``.
    space : str, optional
        BIDS: the space that scans must be in, ``native`` for those that name none. Further entities after
        colons, as fMRIPrep writes them: ``MNI152NLin2009cAsym:res-2``, ``native:desc-preproc``.
    sessions : {"earliest", "all"}
        One scan per subject, or every one.

    Raises
    ------
    ValueError
        If a part is no text, ``sessions`` neither, or ``space`` not written like that.
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
        """Return the entities that `space` asks for: ``{"space": "", "res": "2"}``; native is empty.

        Raises
        ------
        ValueError
            If it is not written like ``MNI152NLin2009cAsym:res-2``.
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
        """Return what is not as by default, for files."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_DEFAULT, name)}

    def changed(self, **given: str | os.PathLike[str] | None) -> "CohortReading":
        """Return it with what is given: ``None`` changes nothing, the text ``none`` takes a part away."""
        changes = {name: os.fspath(value) for name, value in given.items() if value is not None}
        parts: dict[str, Any] = asdict(self)
        for name, value in changes.items():
            parts[name] = getattr(_DEFAULT, name) if value.casefold() == "none" else value
        return CohortReading(**parts)

    def describe(self) -> str:
        """Return it in words for messages."""
        words = [f"--{name.replace('_', '-')} {value}" for name, value in self.facts().items()]
        return " ".join(words) or "no options"

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "CohortReading":
        """Return what `facts` wrote.

        Raises
        ------
        ValueError
            If there is anything else in it.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(facts, Mapping) or set(facts) - known:
            raise ValueError(f"a cohort is not read by {facts!r}")
        return cls(**facts)


_DEFAULT = CohortReading()
