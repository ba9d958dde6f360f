"""``pyadx regions``: a heatmap in every region of an atlas."""

import base64
import csv
import gzip
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cohort_trees import labelled_cohort

from pyadx import models
from pyadx.cli import main
from pyadx.data import region_table
from pyadx.data.region_tables import COLUMNS, side_of
from pyadx.models import Preprocessing
from tests.reference.region_table import slow_region

ATLASES = Path("/usr/share/mricron/templates")
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 0, 1.5, -8], [0, 1, 0, 3], [0, 0, 0, 1]])


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 9, 10), np.int16)
    labels[1:4, 2:7, 2:8], labels[4:7, 2:7, 2:8], labels[2:6, 7, 3:6] = 101, 102, 7
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "atlas.nii.gz")
    heat = rng.normal(size=labels.shape).astype(np.float32)
    nib.save(nib.Nifti1Image(heat, AFFINE), tmp_path / "heat.nii.gz")
    (tmp_path / "atlas.tsv").write_text("index\tname\n101\tInsula_L\n102\tInsula_R\n7\tVermis\n")
    return tmp_path


def run(folder, *more):
    files = (str(folder / name) for name in ("heat.nii.gz", "atlas.nii.gz", "table.tsv"))
    heat, atlas, table = files
    return main(["regions", heat, "--regions", atlas, "-o", table, *map(str, more)])


def read(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_table_equals_one_made_a_mask_at_a_time():
    rng = np.random.default_rng(1)
    heat, labels = rng.normal(size=(6, 7, 8)), rng.integers(0, 5, (6, 7, 8))
    for row in region_table(heat, labels, AFFINE, {1: "A_L"}, threshold=0.5):
        for name, value in slow_region(heat, labels, AFFINE, row["index"], 0.5).items():
            assert row[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name
        assert row["name"] == ("A_L" if row["index"] == 1 else str(row["index"]))
        assert row["asymmetry"] is None


def test_left_and_right_are_paired_by_name(files):
    assert run(files) == 0
    rows = {row["name"]: row for row in read(files / "table.tsv")}
    left, right = float(rows["Insula_L"]["mean"]), float(rows["Insula_R"]["mean"])
    for name in ("Insula_L", "Insula_R"):
        assert float(rows[name]["asymmetry"]) == pytest.approx((left - right) / (abs(left) + abs(right)))
    assert rows["Vermis"]["asymmetry"] == rows["Vermis"]["hemisphere"] == "n/a"
    assert [row["index"] for row in rows.values()] == ["7", "101", "102"]
    note = json.loads((files / "table.json").read_text())
    assert list(rows["Vermis"]) == list(COLUMNS) == list(note)[:-1]
    assert note["Sources"] == {"heatmap": "heat.nii.gz", "atlas": "atlas.nii.gz", "key": "atlas.tsv"}


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("Insula_L", ("L", "insula_*")),
        ("Left-Insula", ("L", "*-insula")),
        ("ctx-rh-insula", ("R", "ctx-*-insula")),
        ("R insula", ("R", "* insula")),
        ("Insula (right)", ("R", "insula (*)")),
        ("Vermis", None),
        ("Lingual", None),
        ("Left to right", None),
    ],
)
def test_sides_are_words_of_their_own(name, side):
    assert side_of(name) == side


def test_without_a_key_numbers_are_shown_as_numbers(files, capsys):
    (files / "atlas.tsv").unlink()
    assert run(files) == 0
    assert [row["name"] for row in read(files / "table.tsv")] == ["7", "101", "102"]
    assert "--key FILE names them" in capsys.readouterr().err


def test_labels_of_freesurfer_get_its_names(files):
    (files / "atlas.tsv").unlink()
    image = nib.load(files / "atlas.nii.gz")
    labels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.select([labels == 101, labels == 102], [17, 53]), AFFINE, dtype="int16"),
             files / "atlas.nii.gz")  # fmt: skip
    assert run(files) == 0
    assert [row["name"] for row in read(files / "table.tsv")] == ["Left-Hippocampus", "Right-Hippocampus"]


def test_bad_input_gets_one_line_and_nothing_is_written(files, capsys):
    (files / "other.csv").write_text("5,A\n6,B\n")
    (files / "broken.xml").write_text("<!DOCTYPE a><atlas/>")
    for key, words in (
        ("other.csv", "names none of the atlas' 3 numbers (7, 101, 102)"),
        ("broken.xml", "declares a document type"),
        ("missing.txt", "no such file"),
    ):
        assert run(files, "--key", files / key) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert run(files, "--threshold", "nan") == 2
    far = np.array(AFFINE)
    far[:3, 3] += 500
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32) * np.arange(4, dtype=np.float32), far),
             files / "heat.nii.gz")  # fmt: skip
    assert run(files) == 2
    assert "field of view" in capsys.readouterr().err
    assert not list(files.glob("*table*"))


def test_a_table_is_replaced_only_when_told_to(files, capsys):
    assert run(files) == 0
    before = (files / "table.tsv").read_bytes()
    assert run(files, "--threshold", "1") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (files / "table.tsv").read_bytes() == before
    assert run(files, "--threshold", "1", "--overwrite") == 0
    assert (files / "table.tsv").read_bytes() != before


@pytest.mark.parametrize("name", ["heat.tsv", "atlas.tsv"])
def test_a_table_never_replaces_a_sidecar_or_a_key(files, capsys, name):
    before = {file: file.read_bytes() for file in files.iterdir()}
    assert run(files, "-o", files / name, "--overwrite") == 2
    assert "belongs to the heatmap or atlas" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in files.iterdir()} == before


@pytest.mark.skipif(not ATLASES.is_dir(), reason="needs Debian's package mricron-data")
def test_a_blob_in_the_left_hippocampus_of_colin_27_is_found_there_by_aal(tmp_path):
    brain = nib.load(ATLASES / "ch2bet.nii.gz")
    grid = np.indices((61, 73, 61)).astype(np.float32)  # 3 mm: another grid than the atlas's
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = brain.affine[:3, 3]
    centre = np.linalg.inv(affine) @ [-25, -21, -13, 1]
    heat = np.exp(-((grid - centre[:3, None, None, None]) ** 2).sum(0) / 2).astype(np.float32)
    nib.save(nib.Nifti1Image(heat, affine), tmp_path / "heat.nii.gz")
    table = tmp_path / "table.tsv"
    code = main(
        [
            "regions",
            str(tmp_path / "heat.nii.gz"),
            "--regions",
            str(ATLASES / "aal.nii.gz"),
            "-o",
            str(table),
        ]
    )
    rows = {row["name"]: row for row in read(table)}
    assert code == 0
    assert len(rows) == 116
    best = rows["Hippocampus_L"]
    assert best["rank"] == "1"
    assert float(best["asymmetry"]) > 0.99
    assert [float(best[f"max_{a}"]) for a in "xyz"] == pytest.approx([-25, -21, -13], abs=3)


def test_a_page_has_the_regions_of_any_atlas(files):
    scan = nib.Nifti1Image(np.random.default_rng(2).random((8, 9, 10), dtype=np.float32), AFFINE)
    nib.save(scan, files / "scan.nii.gz")
    command = ["report", *(str(files / name) for name in ("scan.nii.gz", "heat.nii.gz"))]
    atlas = ["--regions", str(files / "atlas.nii.gz")]
    assert main([*command, *atlas, "-o", str(files / "page.html"), "-q"]) == 0
    page = (files / "page.html").read_text()
    assert all(f"<th>{name}</th>" in page for name in ("Vermis", "Insula_L", "Insula_R"))
    assert '"Insula_L"' in page  # at the crosshair
    (files / "atlas.tsv").rename(files / "names.tsv")
    assert main([*command, *atlas, "-o", str(files / "numbers.html"), "-q"]) == 0
    assert "<th>101</th>" in (files / "numbers.html").read_text()
    key = ["--key", str(files / "names.tsv")]
    assert main([*command, *atlas, *key, "-o", str(files / "key.html"), "-q"]) == 0
    assert "<th>Insula_L</th>" in (files / "key.html").read_text()
    assert main([*command, *key, "-o", str(files / "no.html")]) == 2


def test_more_regions_than_fit_into_eight_bits(files):
    labels = np.arange(8 * 9 * 10, dtype=np.int32).reshape(8, 9, 10)
    scan = nib.Nifti1Image(np.random.default_rng(2).random((8, 9, 10), dtype=np.float32), AFFINE)
    for name, image in (("scan", scan), ("many", nib.Nifti1Image(labels, AFFINE))):
        nib.save(image, files / f"{name}.nii.gz")
    command = ["report", *(str(files / name) for name in ("scan.nii.gz", "heat.nii.gz"))]
    out = files / "page.html"
    assert main([*command, "--regions", str(files / "many.nii.gz"), "-o", str(out), "-q"]) == 0
    text = out.read_text()
    start = text.index('"regions": {') if '"regions": {' in text else text.index('"regions":{')
    held = re.search(r'"nifti": ?"([^"]+)"', text[start:])[1]
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(held)))
    assert np.array_equal(np.asarray(image.dataobj).astype(int), labels)
    heat = np.abs(nib.load(files / "heat.nii.gz").get_fdata())
    strongest = sorted(range(1, labels.size), key=lambda number: -heat.ravel()[number])[:10]
    assert all(f"<th>{number}</th>" in text for number in strongest)


def test_evaluate_takes_any_atlas(tmp_path, monkeypatch, undrawn_figures):
    monkeypatch.chdir(tmp_path)
    labelled_cohort(tmp_path / "blobs", 1)
    for path in Path("blobs").glob("derivatives/freesurfer/*/mri/aseg.mgz"):
        image = nib.load(path)
        other = np.where(np.asarray(image.dataobj) > 0, np.asarray(image.dataobj) + 500, 0)
        nib.save(nib.MGHImage(other.astype(np.int32), image.affine), path.with_name("mine.mgz"))
    Path("key.tsv").write_text("index\tname\n503\tshell\n517\thalf\n504\tmiddle\n")
    model = models.build("resnet-shallow-gap", (12, 13, 11), preprocessing=Preprocessing("max", 4.0))
    models.save(model, "net.safetensors")
    command = ["evaluate", "net.safetensors", "--cohort", "blobs", "--methods", "cam", "-o", "out", "-q"]
    people = ["--subjects", "sub-01,sub-02"]
    regions = ["--regions", "derivatives/freesurfer/{subject}/mri/mine.mgz"]
    assert main([*command, *people, *regions, "--key", "key.tsv"]) == 0
    text = Path("out/localization.md").read_text()
    assert all(name in text for name in ("shell", "half", "middle"))
