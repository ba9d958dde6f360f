"""Scans that a network was not made for: told, noted, refused with ``--strict``; statistics of a cohort."""

import json
from pathlib import Path

import numpy as np
import pytest
from cohort_trees import plain_cohort, save
from commands_support import save_small_network
from own_networks import write_own_network

from pyadx import models
from pyadx.models.sources import ModelSource

nib = pytest.importorskip("nibabel")


@pytest.fixture
def cohort(tmp_path, monkeypatch, run):
    """Eighteen scans, a network that knows how they look, and one scan that is not like them."""
    monkeypatch.chdir(tmp_path)
    plain_cohort(tmp_path, 9, (16, 17, 15))
    save_small_network("plain.safetensors")
    code, out, err = run(
        "convert", "plain.safetensors", "--statistics", "cohort.csv", "-o", "net.safetensors"
    )
    assert code == 0, err
    assert "statistics of 18 scans: net.safetensors" in out
    scan = nib.load("scans/s00.nii.gz").get_fdata()
    save(tmp_path / "odd.nii.gz", np.where(scan != 0, scan.max() - scan, 0))
    return tmp_path


def explain(run, scan, *more, model="net.safetensors"):
    return run(
        "explain", scan, "--model", model, "--method", "cam", "-o", "heat.nii.gz", "--overwrite", *more
    )


def checks(file="heat.json"):
    return json.loads(Path(file).read_text())["checks"]


def test_a_cohort_gives_statistics_and_reference_images(cohort):
    model = models.load("net.safetensors")
    assert models.fingerprint(model) == models.fingerprint(models.load("plain.safetensors"))
    assert model.card.statistics["scans"] == 18
    assert model.card.statistics["source"] == "cohort.csv"
    assert list(model.references) == ["NC", "AD"]  # nine scans each
    assert "likeness" in model.card.statistics["figures"]


def test_a_scan_like_the_others_is_explained_without_a_word(cohort, run):
    code, _, err = explain(run, "scans/s03.nii.gz")
    assert code == 0
    assert "s03" not in err
    assert checks()["outside"] == []
    assert checks()["compared_with"] == "18 scans of cohort.csv"


def test_one_that_is_not_is_told_noted_and_shown(cohort, run):
    code, _, err = explain(run, "odd.nii.gz")
    assert code == 0
    told = [line for line in err.splitlines() if "warning: odd.nii.gz:" in line]
    assert any("does it have another contrast?" in line for line in told)
    assert [line.split("odd.nii.gz: ")[1] for line in told] == checks()["outside"]
    assert run("report", "odd.nii.gz", "heat.nii.gz", "-o", "page.html")[0] == 0
    page = Path("page.html").read_text()
    assert "Does the scan suit the network?" in page
    assert "does it have another contrast?" in page
    assert "18 scans of cohort.csv" in page


def test_strict_refuses_before_anything_is_written(cohort, run):
    code, _, err = explain(run, "odd.nii.gz", "--strict")
    assert code == 2
    assert "does it have another contrast?" in err
    assert "(--strict)" in err
    assert not Path("heat.nii.gz").exists()
    assert explain(run, "scans/s03.nii.gz", "--strict")[0] == 0


def test_a_network_without_statistics_still_knows_labels(cohort, run):
    data = np.zeros((16, 17, 15))
    data[3:12, 3:12, 3:12] = 4
    data[3:6, 3:12, 3:12] = 10
    save(cohort / "labels.nii.gz", data)
    code, _, err = explain(run, "labels.nii.gz", model="plain.safetensors")
    assert code == 0
    assert "of its voxels equal their neighbours: is it a label volume, or a mask?" in err
    assert checks()["compared_with"].startswith("nothing: ")
    assert "odd" not in explain(run, "odd.nii.gz", model="plain.safetensors")[2]


def test_a_cohort_run_lists_them_and_strict_leaves_them_out(cohort, run):
    with open("cohort.csv", "a") as table:
        table.write("odd.nii.gz,odd,NC\n")
    command = ["explain-cohort", "cohort.csv", "--model", "net.safetensors", "--method", "cam"]
    code, out, err = run(*command, "-o", "maps")
    assert code == 0, err
    assert '1 scans are not like those that the network was trained on: "outside"' in out
    entries = [json.loads(line) for line in Path("maps/manifest.jsonl").read_text().splitlines()]
    assert [entry["subject"] for entry in entries if entry["outside"]] == ["odd"]
    assert run(*command, "-o", "maps")[0] == 0  # manifests with it are read again
    for folder in ("maps", "strict"):  # also where the heatmap is there
        Path(folder, "manifest.jsonl").unlink(missing_ok=True)
        code, _, err = run(*command, "-o", folder, "--strict")
        assert code == 1
        assert "1 scans failed, such as odd" in err
        assert "(--strict)" in err


def test_a_network_of_ones_own_learns_from_a_cohort_what_its_scans_look_like(cohort, run):
    write_own_network(cohort)
    card = 'in_shape = [14, 15, 13]\nspacing = "none"\nclass_names = ["NC", "AD"]\n'
    Path("card.toml").write_text(card)
    own = ["net.py:network", "--weights", "net.pth", "--card", "card.toml"]
    assert run("pack", *own, "--statistics", "cohort.csv", "-o", "net.pt2")[0] == 0
    model = ModelSource("net.pt2").load()
    assert model.card.statistics["scans"] == 18
    assert list(model.references) == ["NC", "AD"]
    command = ["explain", "odd.nii.gz", "--model", "net.pt2", "-o", "own.nii.gz"]
    code, _, err = run(*command, "--method", "occlusion:window=5,stride=4,fill=controls")
    assert code == 0, err
    assert "does it have another contrast?" in err
    Path("card.toml").write_text('in_shape = [14, 15, 13]\nspacing = "none"\nclass_names = ["a", "b"]\n')
    assert run("pack", *own, "--statistics", "cohort.csv", "-o", "other.pt2")[0] == 0
    model = ModelSource("other.pt2").load()  # classes that the cohort does not have
    assert model.references == {}
    assert "likeness" not in model.card.statistics["figures"]


def test_too_few_scans_describe_people(cohort, run):
    lines = Path("cohort.csv").read_text().splitlines()
    Path("few.csv").write_text("\n".join(lines[:8]) + "\n")
    code, _, err = run("convert", "plain.safetensors", "--statistics", "few.csv", "-o", "few.safetensors")
    assert code == 2
    assert "has 7 scans that can be read, at least 8 are needed" in err
    assert not Path("few.safetensors").exists()
