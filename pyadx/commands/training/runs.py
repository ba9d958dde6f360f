"""What a finished or begun run remembers for later commands: how its cohort was read."""

import warnings
from pathlib import Path
from typing import Any

from pyadx.commands.training.setup import run_facts
from pyadx.data.cohort import CohortReading

_SAME_IMAGES = ("derivative", "space")  # what decides which images a network sees


def run_of(checkpoint: Path | None) -> dict[str, Any] | None:
    """Return the facts of the run that a checkpoint is of: a training, or a round of a cross-validation."""
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
    """Return how a run's cohort was read, or ``None`` if it does not say, as early runs do not.

    Raises
    ------
    ValueError
        If what is written there is no reading.
    """
    if facts is None or "reading" not in facts:
        return None
    return CohortReading.from_facts(facts["reading"])


def warn_of_other_reading(trained: CohortReading | None, now: CohortReading, cohort: Path) -> None:
    """Say so if a network is shown other images than those it was trained on."""
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
