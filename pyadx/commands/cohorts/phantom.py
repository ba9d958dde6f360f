"""``pyadx phantom``: a synthetic cohort on real anatomy, with planted disease."""

from collections import Counter
from pathlib import Path

from pyadx.data.phantom import check_phantom, write_phantom
from pyadx.inference.progress import progress_bar


def run_phantom(folder: Path, subjects: int, seed: int, jobs: int, progress: bool) -> dict[str, int]:
    """Write the synthetic cohort; return the number of subjects in each group.

    Raises
    ------
    ValueError
        If a number is out of range, nilearn is missing, or the folder holds something else.
    """
    check_phantom(folder, subjects, seed, jobs)
    with progress_bar("subjects", subjects, progress) as advance:
        people = write_phantom(folder, subjects, seed, jobs, advance)
    return dict(Counter(person.group for person in people))
