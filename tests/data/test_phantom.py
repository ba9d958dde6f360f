"""The synthetic cohort: warps are invertible, planted changes are reached, the seed decides all."""

import csv
import json

import numpy as np
import pytest

from pyadx.data.cohort import read_cohort
from pyadx.data.phantom import check_phantom, draw_people, planted_file, write_phantom
from pyadx.data.phantom.warps import (
    compose,
    exponential,
    log_jacobian,
    poisson_velocity,
    sample,
    smooth_noise,
)

nib = pytest.importorskip("nibabel")
pytest.importorskip("nilearn")


def test_the_velocity_has_the_divergence_asked_for():
    wanted = smooth_noise((9, 10, 11), 2.0, 1.0, np.random.default_rng(0)).astype(float)
    velocity = poisson_velocity(wanted)
    found = sum(np.gradient(velocity[a], axis=a) for a in range(3))
    inside = (slice(2, -2),) * 3
    # Central differences twice are a wider Laplacian than the seven-point one that was solved.
    smooth = wanted - wanted.mean()
    assert np.corrcoef(found[inside].ravel(), smooth[inside].ravel())[0, 1] > 0.98
    for axis in range(3):  # nothing flows through the border
        edge = np.take(velocity[axis], [0, -1], axis=axis)
        assert np.abs(edge).max() < np.abs(velocity[axis]).max()


def test_an_exponential_is_inverted_by_that_of_the_negative():
    velocity = smooth_noise((3, 24, 25, 26), 3.0, 1.0, np.random.default_rng(1))
    there, back = exponential(velocity), exponential(velocity, -1.0)
    inside = (slice(None), *(slice(6, -6),) * 3)
    assert np.abs(compose(there, back)[inside]).max() < 0.15 < np.abs(there[inside]).max()


def test_log_jacobian_of_a_scaling_and_of_a_fold():
    grid = np.indices((8, 9, 10), dtype=np.float32)
    assert np.allclose(log_jacobian(grid * np.float32(0.1)), 3 * np.log(1.1), atol=1e-5)
    with pytest.raises(ValueError, match="folds"):
        log_jacobian(grid * np.float32(-1.5))


def test_sampling_at_the_grid_itself_changes_nothing():
    volume = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    assert np.array_equal(sample(volume, np.indices(volume.shape, dtype=np.float32)), volume)


def test_people_are_as_the_paper_counts_them_and_overlap():
    people = draw_people(103, 0)
    assert draw_people(103, 0) == people
    assert draw_people(103, 1) != people
    assert [p.name for p in people[:2]] == ["sub-001", "sub-002"]
    ill = [p for p in people if p.group == "AD"]
    assert len(ill) == 47
    totals = {
        group: [p.natural["ventricle"] + p.planted["ventricle"] for p in people if p.group == group]
        for group in ("AD", "NC")
    }
    assert np.mean(totals["AD"]) > np.mean(totals["NC"])
    assert min(totals["AD"]) < max(totals["NC"])  # the groups overlap
    assert all(p.severity == 0 and not any(p.planted.values()) for p in people if p.group == "NC")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    people = write_phantom(folder, 2, 5)
    assert {p.group for p in people} == {"AD", "NC"}
    return folder, {p.group: p for p in people}


def load(folder, name, ending, derived=True):
    base = folder / "derivatives" / "phantom" if derived else folder
    return np.asarray(nib.load(base / name / "anat" / f"{name}_{ending}.nii.gz").dataobj)


def test_planted_changes_are_reached(cohort):
    folder, people = cohort
    ill = people["AD"]
    facts = json.loads(
        (folder / f"derivatives/phantom/{ill.name}/anat/{ill.name}_desc-planted.json").read_text()
    )
    for region, wanted in facts["PlantedLogVolumeFactor"].items():
        assert facts["MeasuredLogVolumeFactor"][region] == pytest.approx(wanted, rel=0.15)


def test_the_twin_is_the_patient_without_the_disease(cohort):
    folder, people = cohort
    name = people["AD"].name
    scan, twin = load(folder, name, "T1w", derived=False), load(folder, name, "desc-twin_T1w")
    planted = np.asarray(nib.load(planted_file(folder, name)).dataobj)
    assert (scan != twin).any()
    labels = load(folder, name, "dseg")
    assert planted[np.isin(labels, (4, 43))].mean() > 0.2
    assert planted[np.isin(labels, (17, 53))].mean() < -0.1
    assert planted[np.isin(labels, (3, 42))].mean() < -0.02
    low = np.isin(labels, (8, 47))
    low[:, :, 35:] = False  # the lower cerebellum, far from what was planted
    low &= np.abs(planted) < 1e-3
    near = np.abs(planted) > 0.1
    difference = np.abs(scan.astype(float) - twin)
    assert difference[low].mean() < 0.7 * difference[near].mean()
    control = people["NC"].name
    assert not planted_file(folder, control).exists()


def test_scans_are_masked_brains_on_the_grid_with_known_labels(cohort):
    folder, people = cohort
    for person in people.values():
        image = nib.load(folder / person.name / "anat" / f"{person.name}_T1w.nii.gz")
        assert image.shape == (110, 110, 110)
        assert np.allclose(np.linalg.norm(image.affine[:3, :3], axis=0), 2.0)
        data = np.asarray(image.dataobj)
        assert not data[:5].any()
        assert 0.1 < (data > 0).mean() < 0.25
        labels = load(folder, person.name, "dseg")
        assert {3, 42, 4, 43, 17, 53} <= set(np.unique(labels).tolist())
        assert abs(np.isin(labels, 17).sum() / np.isin(labels, 53).sum() - 1) < 0.4


def test_it_is_a_bids_data_set_that_the_cohort_reader_reads(cohort):
    folder, people = cohort
    description = json.loads((folder / "dataset_description.json").read_text())
    assert description["BIDSVersion"]
    rows = list(csv.DictReader((folder / "participants.tsv").open(), delimiter="\t"))
    assert {row["participant_id"]: row["group"] for row in rows} == {
        p.name: p.group for p in people.values()
    }
    read = read_cohort(folder)
    assert {scan.subject: scan.label for scan in read.scans} == {p.name: p.group for p in people.values()}
    assert not read.excluded


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_also_after_an_interruption(cohort, tmp_path):
    folder, _ = cohort
    again = tmp_path / "again"
    calls = []

    def stop(count):
        calls.append(count)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(again, 2, 5, advance=stop)
    done = []
    write_phantom(again, 2, 5, jobs=2, advance=done.append)
    assert done[0] == 1  # the finished subject was not made again
    assert contents(again) == contents(folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1, 0, 1), "subjects must be between 2"),
        ((5, -1, 1), "seed must be between 0"),
        ((5, 0, 0), "jobs must be at least 1"),
    ],
)
def test_impossible_cohorts_are_told(arguments, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        check_phantom(tmp_path / "new", *arguments)


def test_folders_that_hold_something_else_are_left_alone(cohort, tmp_path):
    folder, _ = cohort
    with pytest.raises(ValueError, match="holds another synthetic cohort"):
        check_phantom(folder, 3, 5, 1)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no synthetic cohort"):
        check_phantom(tmp_path, 2, 5, 1)
    with pytest.raises(ValueError, match="is a file"):
        check_phantom(tmp_path / "note.txt", 2, 5, 1)
