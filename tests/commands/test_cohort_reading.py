"""How a cohort is read is remembered; ``explain-cohort`` reads any cohort and says what it leaves out."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from cohort_trees import different_brain, labelled_cohort, plain_cohort, save, write_lines
from commands_support import save_small_network

nib = pytest.importorskip("nibabel")

SHAPE = (16, 17, 15)
EXPLAIN = ["--model", "net.safetensors", "--method", "cam", "-o", "maps"]


@pytest.fixture
def bids(tmp_path, monkeypatch):
    """Scans without any diagnosis: two sessions of one subject, two runs of another, somebody unlisted."""
    monkeypatch.chdir(tmp_path)
    names = [
        "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz",
        "sub-1/ses-10/anat/sub-1_ses-10_T1w.nii.gz",
        "sub-2/anat/sub-2_acq-fast_run-1_T1w.nii.gz",
        "sub-2/anat/sub-2_acq-fast_run-2_T1w.nii.gz",
        "sub-3/anat/sub-3_T1w.nii.gz",
    ]
    for number, name in enumerate(names):
        save(tmp_path / "bids" / name, different_brain(number, SHAPE))
    write_lines(tmp_path / "bids/participants.tsv", "participant_id", "sub-1", "sub-2")
    save_small_network("net.safetensors")
    return "bids"


def heatmaps():
    return sorted(str(path.relative_to("maps")) for path in Path("maps").rglob("*.nii.gz"))


def manifest():
    return [json.loads(line) for line in Path("maps/manifest.jsonl").read_text().splitlines()]


def excluded():
    return [
        tuple(row.values()) for row in csv.DictReader(Path("maps/excluded.csv").read_text().splitlines())
    ]


def test_scans_without_a_diagnosis_are_explained_and_the_rest_is_listed(bids, run):
    code, out, err = run("explain-cohort", bids, *EXPLAIN)
    assert code == 0, err
    assert "2 scans explained" in out
    assert heatmaps() == [
        "sub-1/ses-2/anat/sub-1_ses-2_desc-cam_heatmap.nii.gz",
        "sub-2/anat/sub-2_acq-fast_run-1_desc-cam_heatmap.nii.gz",
    ]
    assert excluded() == [
        ("sub-3", "", "not in participants.tsv"),
        ("sub-1", "sub-1/ses-10/anat/sub-1_ses-10_T1w.nii.gz", "not the earliest scan of its subject"),
        ("sub-2", "sub-2/anat/sub-2_acq-fast_run-2_T1w.nii.gz", "another scan of its session was taken"),
    ]
    (line,) = (line for line in err.splitlines() if line.startswith("pyadx: "))
    assert line.startswith("pyadx: warning: 3 scans or subjects are left out (1 x ")
    assert line.endswith("excluded.csv")


def test_all_sessions_and_runs_are_explained_and_each_is_done_once(bids, run):
    assert run("explain-cohort", bids, *EXPLAIN)[0] == 0
    code, out, err = run("explain-cohort", bids, *EXPLAIN, "--sessions", "all")
    assert code == 0, err
    assert "2 scans explained" in out
    assert "2 were done before" in out
    assert len(heatmaps()) == 4
    assert len({(entry["subject"], entry["entities"]) for entry in manifest()}) == 4
    assert "4 were done before" in run("explain-cohort", bids, *EXPLAIN, "--sessions", "all")[1]


def test_another_image_under_the_same_id_is_not_done_before(bids, run):
    for name in ("sub-1", "sub-2"):
        target = Path(f"bids/derivatives/prep/{name}/anat/{name}_desc-x_T1w.nii.gz")
        save(target, different_brain(9 + int(name[-1]), SHAPE))
    save(Path("bids/derivatives/prep/sub-2/anat/sub-2_space-MNI_T1w.nii.gz"), different_brain(20, SHAPE))
    code, _, err = run("explain-cohort", bids, *EXPLAIN, "--derivative", "prep")
    assert code == 2
    assert "T1w scans are in several spaces (1 x MNI, 2 x native); choose one with --space native" in err
    options = ["--derivative", "prep", "--space", "native"]
    code, out, err = run("explain-cohort", bids, *EXPLAIN, *options)
    assert code == 0, err
    assert "2 scans explained" in out
    assert ("sub-2", "sub-2/anat/sub-2_space-MNI_T1w.nii.gz", "another space: space-MNI") in excluded()
    shutil.copytree("bids/derivatives/prep", "bids/derivatives/other")
    for scan in Path("bids/derivatives/other").rglob("*_desc-x_T1w.nii.gz"):
        save(scan, different_brain(30 + int(scan.name[4]), SHAPE))
    code, out, err = run("explain-cohort", bids, *EXPLAIN, "--derivative", "other", "--space", "native")
    assert "0 were done before" in out


def test_every_group_is_explained_and_its_label_noted(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    table = plain_cohort(tmp_path, 2, SHAPE)
    table.write_text(table.read_text().replace("s00,NC", "s00,CN").replace("s01,AD", "s01,MCI"))
    save_small_network("net.safetensors")
    code, out, err = run("explain-cohort", "cohort.csv", *EXPLAIN)
    assert code == 0, err
    assert "4 scans explained" in out
    assert {entry["subject"]: entry["label"] for entry in manifest()} == {
        "s00": "NC", "s01": "MCI", "s02": "NC", "s03": "AD",
    }  # fmt: skip
    assert "warning" not in err


def test_scans_that_would_share_a_heatmap_are_refused(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        save(tmp_path / folder / "scan.nii.gz", different_brain(ord(folder) - 90, SHAPE))
    write_lines(tmp_path / "t.csv", "path,subject", "a/scan.nii.gz,s1", "b/scan.nii.gz,s1")
    save_small_network("net.safetensors")
    code, _, err = run("explain-cohort", "t.csv", *EXPLAIN, "--sessions", "all")
    assert code == 2
    assert "both heatmaps would be sub-s1_acq-scan_desc-cam_heatmap.nii.gz" in err
    assert not Path("maps").exists()


def test_heatmaps_under_earlier_names_are_found(bids, run):
    assert run("explain-cohort", bids, *EXPLAIN)[0] == 0
    # Sessions were no part of names, nor entities of the manifest.
    old = Path("maps/sub-1/anat/sub-1_desc-cam_heatmap.nii.gz")
    old.parent.mkdir()
    for file in Path("maps/sub-1/ses-2/anat").iterdir():
        file.rename(old.with_name(file.name.replace("_ses-2", "")))
    Path("maps/manifest.jsonl").unlink()
    before = old.stat().st_mtime_ns
    assert run("explain-cohort", bids, *EXPLAIN)[0] == 0
    assert old.stat().st_mtime_ns == before
    assert str(old.relative_to("maps")) in {entry["file"] for entry in manifest()}
    assert len(heatmaps()) == 2


@pytest.fixture
def trained(tmp_path, monkeypatch, run, undrawn_figures):
    """A run on a derivative whose intensities are others than those of the raw scans."""
    monkeypatch.chdir(tmp_path)
    labelled_cohort(tmp_path / "blobs")
    for scan in sorted(Path("blobs").glob("sub-*/anat/*_T1w.nii.gz")):
        target = Path("blobs/derivatives/prep", *scan.parts[1:3], scan.name.replace("_T1w", "_desc-x_T1w"))
        data = nib.load(scan).get_fdata()
        save(target, data**1.5)
    code, _, err = run(
        "train", "blobs", "-o", "run", "--shape", "14", "--spacing", "4", "--model", "resnet-shallow-gap",
        "--set-aside", "AD=1,NC=1", "--folds", "2", "--epochs", "1", "-q", "--derivative", "prep",
    )  # fmt: skip
    assert code == 0, err
    return "run"


def sources(out):
    return [
        json.loads(path.read_text())["scan"]
        for path in sorted(Path(out).rglob("sub-*_heatmap.json"))
    ]  # fmt: skip


def test_evaluate_reads_the_cohort_as_the_run_did_or_says_that_it_does_not(trained, run):
    facts = json.loads(Path("run/run.json").read_text())
    assert facts["reading"] == {"derivative": "prep"}
    seen = json.loads(Path("run/splits.json").read_text())["rounds"][0]["train"][0]
    more = ["--methods", "cam", "-q", "--subjects", seen]
    code, _, err = run("evaluate", "run", "-o", "same", *more)
    assert code == 0, err
    assert [scan["seen_in_training"] for scan in sources("same")] == [True]
    assert "is read with" not in err
    code, _, err = run("evaluate", "run", "-o", "raw", *more, "--derivative", "none")
    assert code == 0, err
    words = "is read with no options, but the network was trained on scans read with --derivative prep"
    assert words in err
    # A checkpoint of the run knows it, too, and so does another command.
    code, _, err = run("evaluate", "run/model.safetensors", "--cohort", "blobs", "-o", "one", *more)
    assert code == 0, err
    assert words not in err
    code, _, err = run(
        "explain-cohort", "blobs", "--model", "run/model.safetensors", "--method", "cam", "-o", "maps", "-q"
    )
    assert code == 0, err
    assert words in err


def test_runs_that_do_not_say_how_they_read_go_on_as_before(trained, run):
    note = Path("run/run.json")
    facts = json.loads(note.read_text())
    del facts["reading"]
    note.write_text(json.dumps(facts))
    code, _, err = run("evaluate", "run", "-o", "raw", "--methods", "cam", "-q")
    assert code == 0, err
    assert "is read with" not in err
    command = [
        "train", "blobs", "-o", "run", "--shape", "14", "--spacing", "4", "--model", "resnet-shallow-gap",
        "--set-aside", "AD=1,NC=1", "--folds", "2", "--epochs", "1", "-q", "--resume",
    ]  # fmt: skip
    code, _, err = run(*command, "--derivative", "prep")
    assert code == 0, err
    code, _, err = run(*command)
    assert code == 2
    assert "the run there has another reading" in err


def test_who_is_left_out_and_why_is_said_of_a_subject_that_was_asked_for(trained, run):
    table = Path("blobs/participants.tsv")
    table.write_text(table.read_text() + "sub-77\tMCI\nsub-78\tAD\n")
    code, _, err = run("evaluate", "run", "-o", "x", "--methods", "cam", "--subjects", "sub-77")
    assert code == 2
    assert "has no subject sub-77 (left out: no T1w scan)" in err


def test_too_few_subjects_name_the_way_out(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    plain_cohort(tmp_path, 4, SHAPE)
    code, _, err = run("train", "cohort.csv", "-o", "run")
    assert code == 2
    assert "cannot set 5 subjects of AD aside: there are 4; choose fewer, or --set-aside none" in err
    code, _, err = run("train", "cohort.csv", "-o", "run", "--set-aside", "AD=2,NC=1")
    assert code == 2
    assert "AD has 2 that are not set aside; set nobody aside with --set-aside none" in err
