"""``pyadx evaluate --truth``: against what the planted disease does to the network."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from cohort_trees import labelled_cohort, plant_disease

from pyadx import models
from pyadx.commands.evaluating.truth_rows import truth_on_scan
from pyadx.data.cohort import read_cohort
from pyadx.data.grids import fit_to_grid, map_to_scan
from pyadx.data.inputs import prepared_volume
from pyadx.data.phantom import twin_file
from pyadx.data.phantom.cases import read_case
from pyadx.data.scans import read_scan, read_volume
from pyadx.evaluation import causal_truth, truth_agreement
from pyadx.models import Preprocessing

nib = pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")
SUBJECT = "sub-02"


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labelled_cohort(tmp_path / "blobs")
    model = models.build("resnet-shallow-gap", (21, 22, 20), preprocessing=Preprocessing("max", 3.0))
    models.save(model, "net.safetensors")
    return Path("blobs")


def evaluate(run, *more, methods="cam"):
    return run(
        "evaluate", "net.safetensors", "--cohort", "blobs", "-o", "out", "--methods", methods,
        "--subjects", "sub-02,sub-01", "--truth", *more,
    )  # fmt: skip


def test_truth_is_measured_kept_and_shown(cohort, run):
    plant_disease(cohort, SUBJECT)
    code, out, err = evaluate(run)
    assert code == 0, err
    rows = list(csv.DictReader(Path("out/truth.csv").read_text().splitlines()))
    assert {row["subject"] for row in rows} == {SUBJECT}  # the control has no twin
    assert len(rows) == 1
    table = Path("out/localization.md").read_text()
    assert table in out + "\n"
    section = table.partition("Causal truth of this network, 1 patients")[2]
    assert section.count("| cam |") == 1
    assert "planted core, AP" in section
    (kept,) = Path("out/derivatives/pyadx").rglob("*truth*.nii.gz")
    facts = json.loads(kept.with_name(kept.name.replace(".nii.gz", ".json")).read_text())
    assert (facts["window"], facts["stride"], facts["score"]) == (5, 3, "log_odds")

    # The same, step by step.
    model = models.load("net.safetensors")
    records = {record.subject: record for record in read_cohort(cohort, model.card.class_names).scans}
    case = read_case(records[SUBJECT], cohort, model.card)
    truth = map_to_scan(
        causal_truth(model, case.volume, case.twin, "AD", window=5, stride=3).numpy(), case.fitted
    )
    assert np.array_equal(truth, read_volume(kept).data)
    (heat,) = Path("out/derivatives/pyadx").rglob("sub-02*desc-cam_*.nii.gz")
    expected = truth_agreement(read_volume(heat).data, truth, case.fitted.scan.data != 0)
    (row,) = rows
    assert float(row["rank"]) == pytest.approx(expected.rank, abs=1e-5)
    assert float(row["average_precision"]) == pytest.approx(expected.average_precision, abs=1e-5)


def test_the_truth_is_not_computed_twice_but_another_twin_is_another_truth(cohort):
    plant_disease(cohort, SUBJECT)
    (record,) = [r for r in read_cohort(cohort).scans if r.subject == SUBJECT]
    given = (Path("net.safetensors"), read_scan(record.path), record, cohort, Path("maps"), "AD", "cpu")
    truth = truth_on_scan(*given)
    (kept,) = Path("maps").rglob("*truth*.nii.gz")
    before = kept.stat().st_mtime_ns
    assert np.array_equal(truth_on_scan(*given), truth)
    assert kept.stat().st_mtime_ns == before
    image = nib.load(twin_file(cohort, SUBJECT))
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) * 0.9, image.affine), image.get_filename())
    assert not np.array_equal(truth_on_scan(*given), truth)
    twin_file(cohort, SUBJECT).unlink()
    assert truth_on_scan(*given) is None


def test_the_twin_is_scaled_by_the_numbers_of_the_scan(cohort):
    plant_disease(cohort, SUBJECT)
    for intensity in ("max", "zscore", "none"):
        card = models.build(
            "resnet-shallow-gap", (21, 22, 20), preprocessing=Preprocessing(intensity, 2.0)
        ).card
        records = {record.subject: record for record in read_cohort(cohort, card.class_names).scans}
        case = read_case(records[SUBJECT], cohort, card)
        assert set(case.planted) == {"planted", "planted core"}
        same = (
            case.fitted.data == fit_to_grid(read_scan(twin_file(cohort, SUBJECT)), (21, 22, 20), 2.0).data
        )
        volume, twin = case.volume[0, 0].numpy(), case.twin[0, 0].numpy()
        assert 0.5 < same.mean() < 1
        assert np.array_equal(volume == twin, same)
        own = prepared_volume(fit_to_grid(read_scan(twin_file(cohort, SUBJECT)), (21, 22, 20), 2.0), card)
        assert np.array_equal(own[0, 0].numpy(), twin) == (intensity == "none")
        assert read_case(records["sub-01"], cohort, card).twin is None


def test_a_cohort_without_twins_is_refused_before_any_work(cohort, run):
    code, _, err = evaluate(run)
    assert code == 2
    assert "none of the chosen subjects has a healthy twin" in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_a_twin_elsewhere_is_refused(cohort, run):
    plant_disease(cohort, SUBJECT)
    image = nib.load(twin_file(cohort, SUBJECT))
    affine = image.affine.copy()
    affine[0, 3] += 4
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine), image.get_filename())
    code, _, err = evaluate(run)
    assert code == 2
    assert "does not lie on the voxels of" in err
    assert not Path("out").exists()
