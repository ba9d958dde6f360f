"""The synthetic cohort as a BIDS data set on disk."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.phantom.anatomy import LABEL_NAMES, mni152_anatomy
from pyadx.data.phantom.atrophy import TemplateGrid, template_grid
from pyadx.data.phantom.subject import EFFECT, NATURAL_SPREAD, SEVERITY, Person, draw_people, make_scan
from pyadx.files import holds_results, replacing
from pyadx.processes import processes

SHAPE = (110, 110, 110)
_SPACING = 2.0
_CENTRE = (0.0, -16.0, 6.0)  # centre of the brain, MNI mm
_PLANTED = {"planted": 0.1, "planted core": 0.5}  # shares of the strongest change
_VERSION = 2  # of the recipe; must change whenever the same seed gives other bytes

_README = """Synthetic cohort. No person was scanned.

Every scan is the MNI152 T1 template (2009, nonlinear, symmetric; as nilearn carries it), warped at
random, with gain, bias field and Rician noise. In the AD group an atrophy of random severity was planted:
lateral ventricles enlarged, hippocampus and cortex shrunk. Everybody's volumes vary naturally, so that
the groups overlap. Age and sex are random and without influence.

derivatives/phantom holds, for every subject, a label volume with FreeSurfer's numbers (approximate
regions of the template, warped with the subject); for patients also the same scan without the disease
(desc-twin), the planted logarithm of the volume change (desc-planted), and prescribed and measured volume
changes (desc-planted JSON).
"""


@cache
def cohort_grid() -> TemplateGrid:
    """Return the template on the grid of the synthetic scans: 110^3 voxels of 2 mm around the brain."""
    affine = np.diag([_SPACING] * 3 + [1.0])
    affine[:3, 3] = np.array(_CENTRE) - _SPACING * (np.array(SHAPE) - 1) / 2
    return template_grid(mni152_anatomy(), SHAPE, affine)


def write_phantom(
    folder: str | os.PathLike[str],
    subjects: int,
    seed: int,
    jobs: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Person]:
    """Write the synthetic cohort.

    Parameters
    ----------
    folder : path
        An empty or new folder, or one that an earlier call with the same subjects and seed did not
        finish; its files are kept.
    subjects, seed : int
        Size of the cohort, and random seed. The same numbers give the same bytes.
    jobs : int
        Number of processes.
    advance : callable
        Called with the number of subjects done.

    Returns
    -------
    list of Person
        The subjects, in order.

    Raises
    ------
    ValueError
        If a number is out of range, nilearn is missing, or the folder holds something else.
    """
    folder = Path(folder)
    check_phantom(folder, subjects, seed, jobs)
    people = draw_people(subjects, seed)
    mni152_anatomy()  # raises before anything is written if nilearn is missing
    folder.mkdir(parents=True, exist_ok=True)
    _write_tables(folder, people, seed)
    missing = [person for person in people if not _is_done(folder, person)]
    advance(subjects - len(missing))
    if jobs == 1 or len(missing) < 2:
        for person in missing:
            write_subject(folder, person)
            advance(1)
        return people
    with processes(min(jobs, len(missing))) as pool:
        for future in as_completed([pool.submit(write_subject, folder, person) for person in missing]):
            future.result()
            advance(1)
    return people


def check_phantom(folder: str | os.PathLike[str], subjects: int, seed: int, jobs: int) -> None:
    """Raise ``ValueError`` if a synthetic cohort cannot be written with these arguments."""
    folder = Path(folder)
    if not 2 <= subjects <= 100_000:
        raise ValueError(f"subjects must be between 2 and 100,000, got {subjects}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be between 0 and 2^32 - 1, got {seed}")
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if not holds_results(folder, "dataset_description.json", "synthetic cohort"):
        return
    try:
        found = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8"))
        recipe = found["GeneratedBy"][0]["Recipe"]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        raise ValueError(f"{folder}: is not empty and holds no synthetic cohort; choose another") from None
    if recipe != _recipe(subjects, seed):
        raise ValueError(f"{folder}: holds another synthetic cohort ({recipe}); choose another folder")


def is_synthetic(folder: str | os.PathLike[str]) -> bool:
    """Return whether a data set is marked as a synthetic cohort of pyadx."""
    try:
        facts = json.loads((Path(folder) / "dataset_description.json").read_text(encoding="utf-8"))
        return "Recipe" in facts["GeneratedBy"][0]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return False


def write_subject(folder: Path, person: Person) -> None:
    """Write the files of one subject; the last file marks the subject as complete."""
    scan = make_scan(person, cohort_grid())
    anat = folder / person.name / "anat"
    derived = _derived(folder, person)
    for made in (anat, derived):
        made.mkdir(parents=True, exist_ok=True)
    save_synthetic(anat / f"{person.name}_T1w.nii.gz", scan.t1)
    _save_json(anat / f"{person.name}_T1w.json", {"Modality": "synthetic T1w", "SkullStripped": True})
    save_synthetic(derived / f"{person.name}_dseg.nii.gz", scan.labels)
    facts: dict[str, Any] = {"Group": person.group, "NaturalLogVolumeFactor": person.natural}
    if scan.twin is not None and scan.planted is not None:
        save_synthetic(derived / f"{person.name}_desc-twin_T1w.nii.gz", scan.twin)
        save_synthetic(derived / f"{person.name}_desc-planted_logvolume.nii.gz", scan.planted)
        facts |= {
            "Severity": person.severity,
            "PlantedLogVolumeFactor": person.planted,
            "MeasuredLogVolumeFactor": scan.measured,
        }
    _save_json(_marker(folder, person), facts)


def planted_file(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the path of a patient's map of the planted change in ``derivatives``."""
    return (
        Path(folder) / "derivatives" / "phantom" / name / "anat" / f"{name}_desc-planted_logvolume.nii.gz"
    )


def twin_file(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the path of a patient's scan without the disease in ``derivatives``."""
    return planted_file(folder, name).with_name(f"{name}_desc-twin_T1w.nii.gz")


def planted_regions(change: np.ndarray) -> dict[str, np.ndarray]:
    """Return masks of the planted disease, bool by name; no masks if nothing was planted.

    ``planted``: tissue that changed by more than a tenth of the strongest change; this is nearly all
    changed tissue, without the blurred borders. ``planted core``: tissue that changed by more than half.

    Parameters
    ----------
    change : numpy.ndarray
        Map of the planted change (`planted_file`), on any grid.
    """
    strength = np.abs(change)
    if not strength.any():
        return {}
    return {name: strength > share * strength.max() for name, share in _PLANTED.items()}


def _derived(folder: Path, person: Person) -> Path:
    return folder / "derivatives" / "phantom" / person.name / "anat"


def _marker(folder: Path, person: Person) -> Path:
    return _derived(folder, person) / f"{person.name}_desc-planted.json"


def _is_done(folder: Path, person: Person) -> bool:
    return _marker(folder, person).is_file()


def _recipe(subjects: int, seed: int) -> dict[str, int]:
    return {"subjects": subjects, "seed": seed, "version": _VERSION}


def _write_tables(folder: Path, people: Sequence[Person], seed: int) -> None:
    recipe = {"Name": "pyadx phantom", "Recipe": _recipe(len(people), seed)}
    description = {
        "Name": "Synthetic AD cohort",
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw",
        "GeneratedBy": [recipe],
        "License": "CC0",
        "Parameters": {"effect": EFFECT, "natural_spread": NATURAL_SPREAD, "severity": SEVERITY},
    }
    derived = folder / "derivatives" / "phantom"
    derived.mkdir(parents=True, exist_ok=True)
    _save_text(folder / "README", _README)
    _save_text(folder / "participants.tsv", "".join(_rows(people)))
    levels = {"AD": "synthetic patient", "NC": "synthetic control"}
    _save_json(
        folder / "participants.json",
        {"group": {"Description": "diagnosis", "Levels": levels}, "age": {"Units": "year"}},
    )
    _save_json(derived / "dataset_description.json", {**description, "DatasetType": "derivative"})
    rows = [f"{number}\t{name}\n" for number, name in LABEL_NAMES.items()]
    _save_text(derived / "dseg.tsv", "".join(["index\tname\n", *rows]))
    _save_json(derived / "people.json", [asdict(person) for person in people])
    _save_json(folder / "dataset_description.json", description)


def _rows(people: Sequence[Person]) -> Iterator[str]:
    yield "participant_id\tgroup\tage\tsex\n"
    for person in people:
        yield f"{person.name}\t{person.group}\t{person.age}\t{person.sex}\n"


def save_synthetic(path: str | os.PathLike[str], data: np.ndarray) -> None:
    """Write a volume on `cohort_grid` as NIfTI, first to a temporary file, which is then renamed."""
    import nibabel as nib

    image = nib.Nifti1Image(data, cohort_grid().affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(cohort_grid().affine, code="mni")
    image.set_qform(cohort_grid().affine, code="mni")
    with replacing(Path(path)) as (partial,):
        nib.save(image, partial)


def _save_json(path: Path, facts: Any) -> None:
    _save_text(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def _save_text(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path) as (partial,):
        partial.write_text(text, encoding="utf-8", newline="\n")
