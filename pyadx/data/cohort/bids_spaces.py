"""Select among several versions (space, processing) of a T1w scan."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyadx.data.cohort.bids_names import T1wFile, t1w_stem
from pyadx.data.cohort.reading import NATIVE, CohortReading
from pyadx.data.cohort.records import Exclusion


def choose_variants(
    images: Path, files: Mapping[str, Sequence[T1wFile]], reading: CohortReading
) -> tuple[dict[str, list[T1wFile]], list[Exclusion]]:
    """Select the scans in the requested space. Without a request there must be only one version.

    Parameters
    ----------
    images : Path
        The raw or derivative data set.
    files : mapping
        T1w files by subject.
    reading : CohortReading
        Its ``space`` is the requested space.

    Returns
    -------
    chosen : dict
        Selected files by subject.
    left_out : list of Exclusion
        All other files, with reasons.

    Raises
    ------
    ValueError
        If no scan is in the requested space, or no space was requested and scans are in several.
    """
    chosen: dict[str, list[T1wFile]] = {name: [] for name in files}
    left_out = []
    wanted = reading.variant()
    for name, own in files.items():
        seen: set[tuple[Path, str]] = set()
        for file in own:
            key = (file.path.parent, (t1w_stem(file.path) or "").casefold())
            inside = str(file.path.relative_to(images))
            if wanted is not None and not file.fits(wanted):
                left_out.append(Exclusion(name, inside, f"another space: {file.variant}"))
            elif key in seen:
                left_out.append(Exclusion(name, inside, "the same scan in another file format"))
            else:
                chosen[name].append(file)
                seen.add(key)
    if any(files.values()) and not any(chosen.values()):
        found = Counter(file.option for own in files.values() for file in own)
        raise ValueError(f"{images}: no T1w scan is in space {reading.space}; there are {_counted(found)}")
    if wanted is None:
        _refuse_several_spaces(images, chosen)
    _refuse_several_variants(images, chosen)
    return chosen, left_out


def _refuse_several_spaces(images: Path, chosen: Mapping[str, Sequence[T1wFile]]) -> None:
    spaces = Counter(file.entities.get("space", NATIVE) for own in chosen.values() for file in own)
    if len(spaces) > 1:
        raise ValueError(
            f"{images}: T1w scans are in several spaces ({_counted(spaces)}); choose one with --space "
            f"{min(spaces, key=lambda name: (name != NATIVE, name))}"
        )


def _refuse_several_variants(images: Path, chosen: Mapping[str, Sequence[T1wFile]]) -> None:
    """Refuse two versions of one scan, because the user must choose the one that fits the network."""
    for name, own in chosen.items():
        versions: dict[object, set[str]] = {}
        for file in own:
            versions.setdefault((file.session, file.acquisition), set()).add(file.option)
        several = next((sorted(found) for found in versions.values() if len(found) > 1), None)
        if several is not None:
            raise ValueError(
                f"{images}: {name} has {len(several)} versions of one T1w scan ({', '.join(several)}); "
                f"choose one with --space {several[-1]}"
            )


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(found.items()))
