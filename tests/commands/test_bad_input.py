"""Every kind of bad input: one clear line, exit code 2, no output file, nothing left behind."""

import gzip
import os

import numpy as np
import pytest
import torch
from commands_support import AFFINE, brain

from pyadx import models

nib = pytest.importorskip("nibabel")


def save(name, data=None, affine=AFFINE, change=None, kind=nib.Nifti1Image):
    image = kind(brain() if data is None else data, affine)
    if change:
        change(image.header)
    nib.save(image, name)
    return name


def truncated(name, keep):
    save(name)
    with open(name, "rb") as file:
        data = file.read()
    with open(name, "wb") as file:
        file.write(data[: int(len(data) * keep)])
    return name


def written(name, data):
    with open(name, "wb") as file:
        file.write(data)
    return name


def patched_header(name, offset, data):
    """A NIfTI file with bytes of its header replaced."""
    save(name)
    with open(name, "r+b") as file:
        file.seek(offset)
        file.write(data)
    return name


def with_nan():
    data = brain()
    data[3, 4, 5] = np.nan
    return data


def with_infinity():
    data = brain()
    data[3, 4, 5] = -np.inf
    return data


def bomb(name):
    """A header of one kilobyte that claims a hundred gigabytes."""
    header = nib.Nifti1Header()
    header.set_data_shape((3000, 3000, 200))
    header.set_data_dtype(np.float64)
    header.set_sform(np.diag([1, 1, 1, 1]), 1)
    with gzip.open(name, "wb") as file:
        file.write(header.binaryblock + b"\0" * 200)
    return name


def colours():
    data = np.zeros((9, 9, 9), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    data["R"] = 5
    return data


def skewed():
    affine = AFFINE.copy()
    affine[:3, 1] = affine[:3, 0]
    return affine


SCANS = {
    "missing": (lambda: "missing.nii.gz", "no such file"),
    "folder": (lambda: os.mkdir("a.nii.gz") or "a.nii.gz", "is a folder"),
    "other kind of file": (lambda: written("scan.txt", b"brain"), "scans end in .nii"),
    "DICOM": (lambda: written("scan.dcm", b"\0" * 128 + b"DICM"), "unknown kind"),
    "empty file": (lambda: written("a.nii", b""), "0 bytes"),
    "text with the right name": (lambda: written("a.nii", b"not a scan" * 99), "cannot be read"),
    "not gzip": (lambda: written("a.nii.gz", b"not gzip" * 99), "cannot be read"),
    "truncated gzip": (lambda: truncated("a.nii.gz", 0.6), "truncated or damaged"),
    "truncated header": (lambda: truncated("a.nii", 0.0005), "cannot be read"),
    "truncated voxels": (lambda: truncated("a.nii", 0.5), "truncated"),
    "truncated MGZ": (lambda: truncated_mgz("a.mgz"), "truncated"),
    "damaged gzip": (lambda: damaged_gzip("a.nii.gz"), "damaged"),
    "header without voxels": (lambda: header_only(), "missing"),
    "claims 14 GB in 1 kB": (lambda: bomb("a.nii.gz"), "truncated, its header declares"),
    "claims more voxels than any scan": (
        lambda: patched_header("a.nii", 42, np.array([32767] * 3, "<i2").tobytes()),
        "voxels, more than",
    ),
    "negative length": (lambda: patched_header("a.nii", 42, np.array([-5], "<i2").tobytes()), "a.nii"),
    "unknown data type": (lambda: patched_header("a.nii", 70, np.array([999], "<i2").tobytes()), "a.nii"),
    "series of volumes": (lambda: save("a.nii", np.stack([brain()] * 3, -1)), "series of volumes"),
    "one slice": (lambda: save("a.nii", brain()[:, :, 0]), "expected a 3D volume"),
    "empty axis": (lambda: save("a.nii", brain()[:0]), "empty"),
    "NaN": (lambda: save("a.nii", with_nan()), "1 of 63,360 voxels are NaN"),
    "infinity": (lambda: save("a.nii", with_infinity()), "NaN or infinite"),
    "constant": (lambda: save("a.nii", np.full((9, 9, 9), 7, np.float32)), "every voxel is 7"),
    "all zero": (lambda: save("a.nii", np.zeros((9, 9, 9), np.float32)), "every voxel is 0"),
    "nothing positive": (lambda: save("a.nii", -brain()), "no voxel on the model's grid is positive"),
    "colours": (lambda: save("a.nii", colours()), "real numbers"),
    "complex": (lambda: save("a.nii", brain().astype(np.complex64)), "real numbers"),
    "metres": (lambda: save("a.nii", change=lambda h: h.set_xyzt_units("meter")), "in meters"),
    "microns": (lambda: save("a.nii", change=lambda h: h.set_xyzt_units("micron")), "in microns"),
    "metre-sized voxels": (lambda: save("a.nii", affine=AFFINE * 1000), "not that of a brain scan"),
    "voxels of a micron": (lambda: save("a.nii", affine=AFFINE / 1000), "not that of a brain scan"),
    "singular affine": (lambda: save("a.nii", affine=skewed()), "singular"),
    "surface instead of volume": (lambda: surface("a.gii"), "unknown kind"),
}


def truncated_mgz(name):
    save(name, kind=nib.MGHImage)
    with open(name, "rb") as file:
        data = file.read()
    return written(name, data[: len(data) // 2])


def damaged_gzip(name):
    save(name)
    with open(name, "rb") as file:
        data = bytearray(file.read())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    return written(name, bytes(data))


def header_only():
    save("a.hdr", kind=nib.Nifti1Pair)
    os.remove("a.img")
    return "a.hdr"


def surface(name):
    nib.save(nib.GiftiImage(), name)
    return name


def pickled(name):
    class Code:
        def __reduce__(self):
            return print, ("run",)

    torch.save(Code(), name)
    return name


def other_tensors(name):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(3)}, name)
    return name


def cut(name):
    with open("resnet.safetensors", "rb") as file:
        return written(name, file.read()[:9999])


BASE = {"SCAN": "scan.nii.gz", "--model": "resnet.safetensors", "-o": "out.nii.gz"}
# What is changed on a command line that is right otherwise, and words of the message.
ARGUMENTS = {
    "missing checkpoint": ({"--model": "missing.safetensors"}, "no such checkpoint"),
    "checkpoint of another kind": ({"--model": "scan.nii.gz"}, "ends in .safetensors"),
    "other safetensors": ({"--model": lambda: other_tensors("b.safetensors")}, "no model card"),
    "cut checkpoint": ({"--model": lambda: cut("b.safetensors")}, "damaged"),
    "pickle with code": ({"--model": lambda: pickled("b.pt")}, "plain weights"),
    "unknown method": ({"--method": "lime"}, "methods: cam, deeplift, flip, gradcam, gradcampp, "),
    "mistyped method": ({"--method": "gradcm"}, "did you mean gradcam"),
    "mistyped option": ({"--method": "occlusion:windw=7"}, "did you mean window"),
    "unknown target": ({"--target": "MCI"}, "NC, AD"),
    "target out of range": ({"--target": "2"}, "0 to 1"),
    "unknown layer": ({"--method": "gradcam:layer=bn44"}, "bn4"),
    "layer without maps": ({"--method": "gradcam:layer=fc11"}, "feature maps"),
    "layer for occlusion": ({"--method": "occlusion:layer=bn4"}, "occlusion has no option 'layer'"),
    "window for gradcam": ({"--method": "gradcam:window=7"}, "gradcam has no option 'window'"),
    "cam without pooling": ({"--method": "cam"}, "global average pooling"),
    "even worse window": ({"--method": "occlusion:window=0"}, "window must be voxels"),
    "window in words": ({"--method": "occlusion:window=seven"}, "window must be voxels"),
    "negative stride": ({"--method": "occlusion:stride=-2"}, "stride must be voxels"),
    "infinite fill": ({"--method": "occlusion:fill=inf"}, "there is no reference 'inf'"),
    "unknown engine": ({"--method": "occlusion:engine=warp"}, "engine must be auto, incremental, full"),
    "engine for gradcam": ({"--method": "gradcam:engine=full"}, "gradcam has no option 'engine'"),
    "unknown precision": ({"--method": "occlusion:precision=fp8"}, "precision must be float32, tf32, bf16"),
    "memory in words": ({"--method": "occlusion:max_memory=lots"}, "such as 500M or 8G"),
    "memory for gradcam": ({"--method": "gradcam:max_memory=8G"}, "no option 'max_memory'"),
    "too little memory": ({"--method": "occlusion:max_memory=1K"}, "max_memory of 1,024 bytes"),
    "no budget at all": ({"--method": "occlusion:budget_s=0"}, "budget_s must be"),
    "resume for gradcam": ({"--resume": None}, "--resume has no meaning for gradcam"),
    "resume with a budget": ({"--method": "occlusion:budget_s=9", "--resume": None}, "--resume has no"),
    "unknown rectify": ({"--method": "cam:rectify=square"}, "'square'"),
    "unknown align": ({"--method": "gradcam:align=centre"}, "'centre'"),
    "unknown score": ({"--method": "gradcam:score=odds"}, "'odds'"),
    "old flag": ({"--window": "7"}, "--window"),
    "unknown device": ({"--device": "tpu9"}, "--device"),
    "another device": ({"--device": "meta"}, "--device"),
    "batch of none": ({"--batch-size": "0"}, "batch_size"),
    "batch in words": ({"--batch-size": "many"}, "--batch-size"),
    "output of another kind": ({"-o": "out.png"}, ".nii.gz or .nii"),
    "output without a name": ({"-o": ".nii.gz"}, ".nii.gz or .nii"),
    "output in a missing folder": ({"-o": "missing/out.nii.gz"}, "no such folder"),
    "output is the scan": ({"-o": "scan.nii.gz"}, "exists already"),
    "output is the scan, overwriting": ({"-o": "scan.nii.gz", "--overwrite": None}, "is the scan itself"),
    "figure of another kind": ({"--figure": "out.txt"}, ".png or .pdf"),
    "figure in a missing folder": ({"--figure": "missing/out.png"}, "no such folder"),
    "unknown option": ({"--speed": "fast"}, "--speed"),
    "option without value": ({"--method": "gradcam:layer"}, "layer needs a value"),
}  # fmt: skip


def listing(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_refused(result, words):
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("pyadx: error: ")
    assert "Traceback" not in err
    assert words in err


@pytest.mark.parametrize("kind", SCANS)
def test_bad_scan(kind, here, run):
    make, words = SCANS[kind]
    path = make()
    before = listing(here)
    result = run("explain", path, "--model", "resnet.safetensors", "-o", "out.nii.gz")
    assert_refused(result, words)
    assert path in result[2], "the message must name the file"
    assert listing(here) == before


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_bad_arguments(kind, here, run):
    changes, words = ARGUMENTS[kind]
    arguments = {**BASE, **{k: v() if callable(v) else v for k, v in changes.items()}}
    before = listing(here)
    line = ["explain", arguments.pop("SCAN")]
    for name, value in arguments.items():
        line += [name] if value is None else [name, value]
    assert_refused(run(*line), words)
    assert listing(here) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["explain"], "SCAN"),
        (["explain", "scan.nii.gz"], "--"),
        (["explane"], "No such command"),
        (["--fast"], "--fast"),
        (["demo", "-o", "scan.nii.gz"], "scan.nii.gz"),
        (["info", "scan.nii.gz"], "unexpected extra argument"),
    ],
)
def test_bad_commands(line, words, here, run):
    assert_refused(run(*line), words)


def test_nan_weights_are_told(here, run):
    model = models.load("resnet.safetensors")
    with torch.no_grad():
        model.fc12.weight[0, 0] = float("nan")
    models.save(model, "nan.safetensors")
    assert_refused(
        run("explain", "scan.nii.gz", "--model", "nan.safetensors", "-o", "out.nii.gz"), "NaN or infinity"
    )
    assert not os.path.exists("out.nii.gz")


def test_a_folder_without_write_permission_is_told(here, run):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    os.mkdir("locked", mode=0o500)
    assert_refused(
        run("explain", "scan.nii.gz", "--model", "resnet.safetensors", "-o", "locked/out.nii"),
        "cannot be written to",
    )


def test_ctrl_c_leaves_nothing_and_exits_with_130(here, run, monkeypatch):
    before = listing(here)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pyadx.commands.explaining.explain.prepared_volume", interrupt)
    code, out, err = run("explain", "scan.nii.gz", "--model", "resnet.safetensors", "-o", "out.nii.gz")
    assert (code, out, err) == (130, "", "pyadx: error: interrupted\n")
    assert listing(here) == before


def test_a_full_disk_is_one_line_and_exit_code_1(here, run, monkeypatch):
    def full(image, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    code, _, err = run("explain", "scan.nii.gz", "--model", "resnet.safetensors", "-o", "out.nii.gz", "-q")
    assert code == 1
    assert "No space left on device" in err
    assert not os.path.exists("out.nii.gz")
