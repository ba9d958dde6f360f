"""What is doubtful about a scan reaches the user and the sidecar; what is private reaches nothing."""

import base64
import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands_support import AFFINE, brain, save_small_network
from torch import nn

from pyadx import models
from pyadx.data.cohort import ScanRecord
from pyadx.models import Preprocessing

nib = pytest.importorskip("nibabel")

FLIPPED = AFFINE @ np.diag([-1.0, 1, 1, 1])
SECRETS = (b"Jane Roe", b"Jane%20Roe", b"born 1931", b"born%201931")
NAMED = "Name: Jane Roe; born 1931"


def save(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(data, affine), path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_small_network("net.safetensors")
    return tmp_path


@pytest.fixture
def doubtful(folder):
    """A scan whose sform and qform exchange left and right."""
    image = nib.Nifti1Image(brain(), AFFINE)
    image.set_sform(AFFINE, 1)
    image.set_qform(FLIPPED, 1)
    nib.save(image, "scan.nii.gz")
    return folder


EXPLAIN = ["explain", "scan.nii.gz", "--model", "net.safetensors", "--method", "cam", "--target", "AD"]


@pytest.mark.parametrize(
    ("arguments", "sidecar"),
    [
        ([*EXPLAIN, "-o", "heat.nii.gz"], "heat.json"),
        (["segment", "scan.nii.gz", "-o", "labels.nii.gz"], "labels.json"),
    ],
)
def test_a_doubtful_header_is_one_warning_line_and_stands_in_the_sidecar(arguments, sidecar, doubtful, run):
    code, _, err = run(*arguments)
    assert code == 0, err
    lines = [line for line in err.splitlines() if line.startswith("pyadx: warning: scan.nii.gz: ")]
    assert len(lines) == 1
    assert "disagree by up to" in lines[0]
    assert "axes L-A-S and R-A-S" in lines[0]
    facts = json.loads(Path(sidecar).read_text())["scan"]
    assert facts["affine_from"] == "sform"
    assert lines[0].endswith(facts["header_notes"][0])
    assert run(*arguments, "--overwrite", "-q") == (0, "", "")


def test_what_nibabel_mends_is_told_once_in_our_words(folder, run):
    save("scan.nii", brain())
    content = bytearray(Path("scan.nii").read_bytes())
    content[80:84] = bytes(4)  # pixdim[1]
    Path("scan.nii").write_bytes(content)
    code, _, err = run("explain", "scan.nii", *EXPLAIN[2:], "-o", "heat.nii.gz")
    assert code == 0, err
    told = [line for line in err.splitlines() if "pixdim" in line]
    assert told == [
        "pyadx: warning: scan.nii: its pixdim, the voxel size, is 0 x 2 x 2 mm; the sform says 2 x 2 x 2 mm"
    ]


def test_orientation_decides(doubtful, run):
    maps = {}
    for orientation in ("auto", "sform", "qform"):
        code, _, err = run(*EXPLAIN, "-o", f"{orientation}.nii.gz", "--orientation", orientation)
        assert code == 0, err
        maps[orientation] = nib.load(f"{orientation}.nii.gz").get_fdata()
        assert json.loads(Path(f"{orientation}.json").read_text())["scan"][
            "affine_from"
        ] == orientation.replace("auto", "sform")
    assert np.array_equal(maps["auto"], maps["sform"])
    assert not np.allclose(maps["auto"], maps["qform"])
    # As the same voxels with a header that says so and nothing else.
    save("plain.nii.gz", brain(), FLIPPED)
    assert run("explain", "plain.nii.gz", *EXPLAIN[2:], "-o", "plain-heat.nii.gz")[0] == 0
    assert np.array_equal(nib.load("plain-heat.nii.gz").get_fdata(), maps["qform"])
    code, _, err = run(*EXPLAIN, "-o", "x.nii.gz", "--orientation", "best")
    assert (code, err) == (
        2, "pyadx: error: scan.nii.gz: orientation must be one of auto, sform, qform, got 'best'\n",
    )  # fmt: skip


def test_a_page_of_a_map_that_was_made_with_the_qform(doubtful, run):
    pytest.importorskip("matplotlib")
    assert run(*EXPLAIN, "-o", "heat.nii.gz", "--orientation", "qform")[0] == 0
    for orientation in ("qform", "auto"):
        code, _, err = run(
            "report",
            "scan.nii.gz",
            "heat.nii.gz",
            "-o",
            f"{orientation}.html",
            "--orientation",
            orientation,
        )
        assert code == 0, err


def flat_network(path):
    """A network whose answer depends on nothing."""
    model = models.build(
        "resnet-shallow-gap", (16, 16, 16), preprocessing=Preprocessing("max", 2.0), seed=0
    )
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
    models.save(model, path)


def test_an_empty_map_is_told_and_shown(folder, run):
    pytest.importorskip("matplotlib")
    save("scan.nii.gz", brain())
    flat_network("flat.safetensors")
    arguments = [
        "explain",
        "scan.nii.gz",
        "--model",
        "flat.safetensors",
        "--method",
        "cam",
        "--target",
        "AD",
    ]
    code, _, err = run(*arguments, "-o", "heat.nii.gz", "--figure", "heat.png")
    assert code == 0, err
    assert "pyadx: warning: the heatmap is flat: every voxel is 0; it singles out no place" in err
    assert json.loads(Path("heat.json").read_text())["flat"].startswith("every voxel is 0")
    code, _, err = run("report", "scan.nii.gz", "heat.nii.gz", "-o", "page.html")
    assert code == 0, err
    assert "pyadx: warning: heat.nii.gz: every voxel is 0; it singles out no place" in err
    assert "[flat: every voxel is 0" in Path("page.html").read_text(encoding="utf-8")


def test_an_empty_map_is_not_computed_again(folder, monkeypatch):
    from pyadx.commands.explaining import heatmaps

    save("scan.nii.gz", brain())
    flat_network("flat.safetensors")
    job = heatmaps.HeatmapJob("cam", Path("flat.safetensors"), "cam")
    record = ScanRecord(Path("scan.nii.gz"), "sub-1", "AD", "scan")
    first, _, _ = heatmaps.heatmap_of(job, Path("maps"), record, "AD", "cpu", False)
    assert not first.any()
    monkeypatch.setattr(heatmaps, "run_explain", lambda request: pytest.fail("computed again"))
    again, facts, _ = heatmaps.heatmap_of(job, Path("maps"), record, "AD", "cpu", False)
    assert not again.any()
    assert facts["method"] == "cam"


def test_a_mask_of_ones_is_the_whole_volume_and_one_of_zeros_is_refused(folder, run):
    save("scan.nii.gz", brain((20, 22, 18)))
    save("ones.nii.gz", np.ones((20, 22, 18), np.uint8))
    save("zeros.nii.gz", np.zeros((20, 22, 18), np.uint8))
    code, _, err = run("segment", "scan.nii.gz", "-o", "l.nii.gz", "--mask", "ones.nii.gz")
    assert code == 0, err
    assert (np.asarray(nib.load("l.nii.gz").dataobj) > 0).all()
    code, _, err = run("segment", "scan.nii.gz", "-o", "m.nii.gz", "--mask", "zeros.nii.gz")
    assert (code, err) == (2, "pyadx: error: zeros.nii.gz: every voxel is 0; nothing is inside\n")


def named_scan(path):
    """A scan that says who it is of, everywhere where a header has room for it."""
    header = nib.Nifti1Header()
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        header[field] = b"Jane Roe"
    header["descrip"] = NAMED.encode()
    header["intent_code"] = 1001
    header["cal_max"] = 19.31
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", NAMED.encode()))
    header.set_xyzt_units("mm", "sec")
    image = nib.Nifti1Image(brain(), AFFINE, header)
    image.set_sform(AFFINE, "mni")
    image.set_qform(AFFINE, "scanner")
    nib.save(image, path)


def every_byte(path):
    """What a file holds, packed or not; of a page the volumes inside it, too."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        return gzip.decompress(content)
    packed = re.findall(rb'"nifti": ?"([^"]+)"', content)
    return content + b"".join(gzip.decompress(base64.b64decode(one)) for one in packed)


def test_nothing_that_is_written_says_whose_scan_it_is(folder, run):
    pytest.importorskip("matplotlib")
    private = folder / NAMED.replace(": ", "-") / "study"
    for place in (private / "one", private / "two"):
        place.mkdir(parents=True)
    named_scan(private / "one" / "scan.nii.gz")
    shutil.copy(private / "one" / "scan.nii.gz", private / "two" / "other.nii.gz")
    other = nib.load(private / "two" / "other.nii.gz")
    changed = nib.Nifti1Image(other.get_fdata() * 2 + (other.get_fdata() > 0), None, other.header)
    nib.save(changed, private / "two" / "other.nii.gz")
    (private / "two" / "broken.nii.gz").write_bytes(b"broken")
    assert all(secret in every_byte(private / "one" / "scan.nii.gz") for secret in SECRETS[::2])
    (private / "cohort.csv").write_text(
        "path,subject,label\none/scan.nii.gz,s1,AD\ntwo/other.nii.gz,s2,NC\ntwo/broken.nii.gz,s3,NC\n"
    )
    out = folder / "out"
    out.mkdir()
    scan = private / "one" / "scan.nii.gz"
    explain = ["--model", folder / "net.safetensors", "--method"]
    for method in ("cam", "occlusion:window=8,stride=8"):
        name = out / f"{method[:3]}.nii.gz"
        code, _, err = run("explain", scan, *explain, method, "-o", name, "--figure", out / f"{name}.png")
        assert code == 0, err
    tree = ["--hierarchy", out / "tree.npz", "--figure", out / "tree.png", "--max-regions", "20"]
    assert run("segment", scan, "-o", out / "labels.nii.gz", *tree)[0] == 0
    assert run("report", scan, out / "cam.nii.gz", "-o", out / "page.html")[0] == 0
    run("explain-cohort", private / "cohort.csv", *explain, "cam", "-o", out / "maps")
    written = sorted(path for path in out.rglob("*") if path.is_file())
    assert {path.suffix for path in written} >= {".gz", ".json", ".jsonl", ".png", ".npz", ".html"}
    assert len(list((out / "maps").rglob("*_heatmap.nii.gz"))) == 2
    assert "broken.nii.gz: " in (out / "maps" / "manifest.jsonl").read_text()
    for path in written:
        content = every_byte(path)
        for secret in (*SECRETS, str(folder).encode()):
            assert secret not in content, f"{path.name} holds {secret!r}"


def test_heatmaps_and_labels_keep_geometry_units_and_space_codes(folder, run):
    named_scan("scan.nii.gz")
    assert run(*EXPLAIN, "-o", "heat.nii.gz")[0] == 0
    assert run("segment", "scan.nii.gz", "-o", "labels.nii.gz", "--max-regions", "20")[0] == 0
    scan = nib.load("scan.nii.gz")
    for name in ("heat.nii.gz", "labels.nii.gz"):
        made = nib.load(name)
        assert np.array_equal(made.affine, scan.affine)
        assert np.allclose(made.get_qform(), scan.get_qform(), atol=1e-5)
        # One of the scan's codes says MNI, and the other affine is the same: now both codes say so.
        assert (made.header["sform_code"], made.header["qform_code"]) == (4, 4)
        assert made.header.get_xyzt_units()[0] == "mm"
        assert made.header["intent_code"] == (1002 if name == "labels.nii.gz" else 0)
        assert not made.header.extensions
        assert made.header["cal_max"] == 0
