"""``pyadx evaluate`` and ``reproduce``: tables, figures, derivatives, made once; bad input is told."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_trees import labelled_cohort
from torch import nn

from pyadx import models
from pyadx.commands.evaluating.evaluate import Subject, evaluate_jobs
from pyadx.commands.explaining.heatmaps import HeatmapJob
from pyadx.data.cohort import ScanRecord
from pyadx.explainers import parse_method
from pyadx.models import Preprocessing

nib = pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

METHODS = ["occlusion:window=3,stride=6", "sa3ducm", "cam", "gradcam:layer=bn4"]
FAST = ["--subjects", "sub-02,sub-01"]


@pytest.fixture
def cohort(tmp_path, monkeypatch, coarse_figures):
    monkeypatch.chdir(tmp_path)
    labelled_cohort(tmp_path / "blobs")
    save_network()
    return "blobs"


def save_network(change=lambda model: None):
    model = models.build("resnet-shallow-gap", (12, 13, 11), preprocessing=Preprocessing("max", 4.0))
    change(model)
    models.save(model, "net.safetensors")


def evaluate(run, *more, methods=METHODS):
    return run(
        "evaluate", "net.safetensors", "--cohort", "blobs", "-o", "out", "--methods", " ".join(methods),
        *FAST, *more,
    )  # fmt: skip


def test_evaluate_writes_tables_figures_and_derivatives_and_computes_nothing_twice(cohort, run, request):
    code, out, err = evaluate(run, "--faithfulness")
    assert code == 0, err
    rows = list(csv.DictReader(Path("out/localization.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == set(METHODS)
    assert {row["region"] for row in rows} == {"cortex", "ventricle", "hippocampus", "union"}
    assert len(rows) == len(METHODS) * 4 * 2
    for row in rows:
        assert 0 < float(row["average_precision"]) <= 1
        assert 0 <= float(row["pointing"]) <= 1  # ties share
    table = Path("out/localization.md").read_text()
    assert table in out + "\n"
    assert "prevalence (a random map)" in table
    for name in ("comparison", "precision-recall"):
        assert Path(f"out/{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert Path(f"out/{name}.pdf").read_bytes()[:4] == b"%PDF"
    faithful = list(csv.DictReader(Path("out/faithfulness.csv").read_text().splitlines()))
    assert len(faithful) == len(METHODS) * 2 * 2 * 2
    spent = {row["method"]: row for row in csv.DictReader(Path("out/costs.csv").read_text().splitlines())}
    assert float(spent["cam"]["plain_forwards"]) == 1
    assert float(spent["sa3ducm"]["plain_forwards"]) >= float(spent["sa3ducm"]["scored"]) > 1

    heatmaps = sorted(Path("out/derivatives/pyadx").rglob("*.nii.gz"))
    assert len(heatmaps) == len(METHODS) * 2
    times = [path.stat().st_mtime_ns for path in heatmaps]
    before = Path("out/localization.csv").read_bytes()
    request.getfixturevalue("undrawn_figures")
    assert evaluate(run, "-q")[0] == 0
    assert [path.stat().st_mtime_ns for path in heatmaps] == times
    assert Path("out/localization.csv").read_bytes() == before
    # Another option is another heatmap, in a file of its own; the others stay.
    assert evaluate(run, "-q", methods=["cam", "cam:align=receptive_field"])[0] == 0
    assert [path.stat().st_mtime_ns for path in heatmaps] == times
    new = set(Path("out/derivatives/pyadx").rglob("*.nii.gz")) - set(heatmaps)
    wanted = parse_method("cam:align=receptive_field").description
    assert {p.name for p in new} == {f"sub-0{n}_desc-{wanted}_heatmap.nii.gz" for n in (1, 2)}


def test_heatmaps_are_a_bids_derivative_data_set(cohort, run, undrawn_figures):
    assert evaluate(run, "-q", methods=["cam"])[0] == 0
    root = Path("out/derivatives/pyadx")
    note = json.loads((root / "dataset_description.json").read_text())
    assert note["Name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", note["BIDSVersion"])
    assert note["DatasetType"] == "derivative"
    assert note["GeneratedBy"][0]["Name"] == "pyadx"
    assert note["SourceDatasets"][0]["URL"].startswith("file://")
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    files.remove("dataset_description.json")
    files.remove(".bidsignore")
    entity = re.compile(r"(sub-[A-Za-z0-9]+)/anat/\1_desc-[A-Za-z0-9]+_heatmap\.(nii\.gz|json)")
    assert files
    assert all(entity.fullmatch(name) for name in files)
    for name in files:
        if name.endswith(".nii.gz"):
            scan = nib.load(f"blobs/{name.split('/')[0]}/anat/{name.split('/')[0]}_T1w.nii.gz")
            heat = nib.load(root / name)
            assert heat.shape == scan.shape
            assert np.allclose(heat.affine, scan.affine)
            assert name.replace(".nii.gz", ".json") in files


def test_the_patient_is_drawn_first_and_a_scan_that_was_trained_on_is_told(cohort, run, undrawn_figures):
    options = ["--shape", "14", "--spacing", "4", "--model", "resnet-shallow-gap"]
    code, _, err = run(
        "train", "blobs", "-o", "run", *options, "--set-aside", "AD=1,NC=1", "--folds", "2", "--epochs",
        "1", "-q",
    )  # fmt: skip
    assert code == 0, err
    # The cohort and the scans set aside are those of the run.
    code, out, err = run("evaluate", "run", "-o", "aside", "--methods", "cam")
    assert code == 0, err
    assert "resnet-shallow-gap, 2 scans" in out
    assert "warning" not in err
    seen = json.loads(Path("run/splits.json").read_text())["rounds"][0]["train"][0]
    code, _, err = run("evaluate", "run", "-o", "seen", "--methods", "cam", "--subjects", seen)
    assert code == 0, err
    assert f"{seen} was among the scans that model.safetensors was trained on" in err


def test_a_heatmap_with_nan_is_refused(cohort, run, undrawn_figures):
    assert evaluate(run, "-q", methods=["cam"])[0] == 0
    path = Path("out/derivatives/pyadx/sub-02/anat/sub-02_desc-cam_heatmap.nii.gz")
    image = nib.load(path)
    data = image.get_fdata(dtype=np.float32)
    data[11, 12, 10] = np.nan
    nib.save(nib.Nifti1Image(data, image.affine), path)
    code, _, err = evaluate(run, "-q", methods=["cam"])
    # A file that cannot be read as a heatmap is made again.
    assert code == 0, err
    assert np.isfinite(nib.load(path).get_fdata()).all()


def aseg(name, change):
    path = Path("blobs/derivatives/freesurfer") / name / "mri" / "aseg.mgz"
    image = nib.load(path)
    labels, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    nib.save(nib.MGHImage(labels, affine), path)


def elsewhere(labels, affine):
    affine[:3, 3] += 80
    return labels, affine


def without_hippocampus(labels, affine):
    labels[labels == 17] = 0
    return labels, affine


def nothing(labels, affine):
    return labels * 0, affine


def other_numbers(labels, affine):
    return (labels > 0) * np.int32(99), affine


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (elsewhere, "field of view"),
        (without_hippocampus, "has no voxel of the region hippocampus"),
        (nothing, "every voxel is 0"),
        (other_numbers, "holds none of the regions"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_any_heatmap(cohort, run, change, words):
    aseg("sub-01", change)
    code, _, err = evaluate(run)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not list(Path().rglob("*heatmap*"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--subjects", "sub-77"], "has no subject sub-77"),
        (["--subjects", ","], "--subjects is empty"),
        (["--inside", "skull"], "--inside must be brain or volume"),
        (["--regions", "../{subject}"], "--regions must be"),
        (["--regions", "aparc+aseg"], "no label volume"),
        (["--target", "MCI"], "MCI"),
        (["--methods", "lime"], "no method 'lime'"),
        (["--methods", "cam gradcam:layer=conv9z"], "conv9z"),
        (["--methods", "cam,sa3ducm"], "separate methods with spaces"),
        (["--cohort", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_are_told_in_one_line_before_any_work(cohort, run, more, words):
    code, _, err = evaluate(run, *more)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not list(Path().rglob("*heatmap*"))


def test_methods_that_name_nothing_are_refused(cohort, run):
    code, _, err = evaluate(run, methods=[" "])
    assert code == 2
    assert "--methods is empty" in err


def test_a_cohort_of_one_class_is_refused(cohort, run):
    table = Path("blobs/participants.tsv")
    table.write_text(table.read_text().replace("AD", "NC"))
    code, _, err = evaluate(run)
    assert code == 2
    assert "AD" in err


def test_reproduce_makes_all_tables_and_figures_and_resumes(cohort, run, monkeypatch, request):
    from pyadx.commands.evaluating import paper_settings as settings
    from pyadx.commands.evaluating import reproduce
    from pyadx.commands.evaluating.paper_settings import PANELS

    tiny = settings.NetworkSetting(49, 1.6, {"epochs": 1}, window=5, stride=16)
    vggnet = settings.NetworkSetting(110, 2.0, {"epochs": 1}, window=9, stride=12)
    networks = {"vggnet": vggnet, **dict.fromkeys(("resnet", "resnet-gap", "resnet-shallow-gap"), tiny)}
    monkeypatch.setitem(settings.SETTINGS, "small", settings.Setting(1, 2, networks))
    # Hundreds of supervoxels of 110^3 voxels take minutes, and are scored as twenty are.
    few = {"sa3ducm": "sa3ducm:max_regions=20", "sa3ducm:paper": "sa3ducm:paper,max_regions=20"}
    panels = tuple(replace(panel, method=few.get(panel.method, panel.method)) for panel in PANELS)
    monkeypatch.setattr(reproduce, "PANELS", panels)
    grouped = {
        "SA-3DUCM": "sa3ducm:max_regions=20",
        "Occlusion": "occlusion:window={window},stride={stride}",
    }
    monkeypatch.setattr(reproduce, "GROUP_METHODS", grouped)
    command = ["reproduce", "-o", "out", "--cohort", cohort, "--set-aside", "AD=1,NC=1"]
    code, out, err = run(*command)
    assert code == 0, err
    assert "out/reproduction.md" in out
    text = Path("out/reproduction.md").read_text()
    for panel in PANELS:
        assert text.count(f"| {panel.name} |") == 5  # four tables of localisation, one of costs
    for name in networks:
        assert f"| {name} | " in text
    assert "SYNTHETIC" not in text  # it is somebody's own cohort
    for name in re.findall(r"\]\((\S+)\)", text):
        assert (Path("out") / name).is_file()
    kept = [path for path in Path("out").rglob("*") if path.name in ("result.json", "model.safetensors")]
    kept += list(Path("out/derivatives").rglob("*.nii.gz"))
    assert len(kept) == 4 * 2 * 2 + 14 * 2
    for name in grouped:
        facts = json.loads(Path(f"out/groups/{name}/group.json").read_text())
        people = {one["participant_id"] for one in facts["sample"]["subjects"]}
        assert len(people) == sum(facts["sample"]["n"].values()) == 6
        assert [one["name"] for one in facts["covariates"]] == ["network"]
        assert f"- {name}: with shuffled labels" in text
        # Nobody is explained by a network that was trained on them.
        for note in Path(f"out/groups/maps/{name}").rglob("*_heatmap.json"):
            assert json.loads(note.read_text())["scan"]["seen_in_training"] is False
    kept += list(Path("out/groups").rglob("*.nii.gz"))
    assert Path("out/groups.png").read_bytes()[:4] == b"\x89PNG"
    times = [path.stat().st_mtime_ns for path in kept]
    request.getfixturevalue("undrawn_figures")
    assert run(*command, "-q")[0] == 0
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert Path("out/reproduction.md").read_text() == text
    code, _, err = run(*command, "--seed", "1")
    assert code == 2
    assert "another seed" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--setting", "huge"], "--setting must be one of small, full"),
        (["--set-aside", "none"], "leaves no scan to explain"),
        (["--set-aside", "AD=9,NC=1"], "AD"),
    ],
)
def test_reproduce_refuses_bad_input_before_training(cohort, run, more, words):
    code, _, err = run("reproduce", "-o", "out", "--cohort", cohort, "--set-aside", "AD=1,NC=1", *more)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not list(Path().rglob("result.json"))


def test_ids_that_come_to_the_same_bids_label_are_told_before_any_heatmap(cohort):
    records = [ScanRecord(Path("scan.nii.gz"), subject, "NC", subject) for subject in ("a_1", "a1")]
    subjects = [Subject(record, None, {}, None) for record in records]
    job = HeatmapJob("cam", Path("net.safetensors"), "cam")
    with pytest.raises(ValueError, match="'a_1' and 'a1' would get the same BIDS label"):
        evaluate_jobs(
            [job], subjects, Path("out"), Path("blobs"), target="AD", device="cpu", progress=False
        )
    assert not Path("out").exists()


def test_maps_of_zeros_are_scored_told_and_not_computed_again(cohort, run, request):
    save_network(lambda model: nn.init.zeros_(model.fc.weight))
    code, _, err = evaluate(run, methods=["cam"])
    assert code == 0, err
    rows = list(csv.DictReader(Path("out/localization.csv").read_text().splitlines()))
    for row in rows:  # a flat map finds a region as a random one does
        assert float(row["average_precision"]) == pytest.approx(float(row["prevalence"]), rel=1e-4)
    heatmaps = sorted(Path("out/derivatives/pyadx").rglob("*.nii.gz"))
    assert len(heatmaps) == 2
    assert not any(np.asarray(nib.load(path).dataobj).any() for path in heatmaps)
    assert err.count("cam of sub-0") == 2
    times = [path.stat().st_mtime_ns for path in heatmaps]
    request.getfixturevalue("undrawn_figures")
    assert evaluate(run, "-q", methods=["cam"])[0] == 0
    assert [path.stat().st_mtime_ns for path in heatmaps] == times


def test_an_atlas_with_other_numbers_is_refused_before_any_heatmap(cohort, run):
    for path in Path("blobs/derivatives").rglob("aseg.mgz"):
        image = nib.load(path)
        labels = np.random.default_rng(0).integers(1, 117, image.shape).astype(np.int32)  # as AAL
        nib.save(nib.MGHImage(labels, image.affine), path)
    code, _, err = evaluate(run)
    assert code == 2
    assert "does not look like FreeSurfer's aseg or aparc+aseg" in err
    assert err.count("\n") == 1
    assert not list(Path("out").rglob("*_heatmap.nii.gz"))
