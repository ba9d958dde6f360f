"""Facts that a run stores for later commands: how its cohort was read."""

import warnings
from pathlib import Path
from typing import Any

from pyadx.commands.training.setup import run_facts
from pyadx.data.cohort import CohortReading

_SAME_IMAGES = ("derivative", "space")  # options that decide which images a network sees


def run_of(checkpoint: Path | None) -> dict[str, Any] | None:
    """Return the facts of the run (training or cross-validation) that a checkpoint comes from."""
    if checkpoint is None:
        return None
    folder = checkpoint.resolve().parent
    for one in (folder, folder.parent.parent):
        try:
            facts = run_facts(one)
        except ValueError:
            continue
        if isinstance(facts, dict) and {"cohort", "model", "protocol"} <= set(facts):
            return facts
    return None


def reading_of(facts: dict[str, Any] | None) -> CohortReading | None:
    """Return how a run's cohort was read; ``None`` for early runs, which did not store it.

    Raises
    ------
    ValueError
        If the stored facts are invalid.
    """
    if facts is None or "reading" not in facts:
        return None
    return CohortReading.from_facts(facts["reading"])


def warn_of_other_reading(trained: CohortReading | None, now: CohortReading, cohort: Path) -> None:
    """Warn if a network gets other images than those it was trained on."""
    if trained is None:
        return
    if any(getattr(trained, name) != getattr(now, name) for name in _SAME_IMAGES):
        warnings.warn(
            f"{cohort}: is read with {_words(now)}, but the network was trained on scans read with "
            f"{_words(trained)}",
            UserWarning,
            stacklevel=2,
        )


def _words(reading: CohortReading) -> str:
    return CohortReading(derivative=reading.derivative, space=reading.space).describe()
