"""Writes the corpus: a small valid input of every kind. ``python tests/fuzz/make_corpus.py``."""

import io
from pathlib import Path

import nibabel as nib
import numpy as np

from pyadx import models, segmentation
from pyadx.data.cohort.splits import plan_splits
from pyadx.data.scans import SUFFIXES
from pyadx.models.training_scans import training_record

CORPUS = Path(__file__).resolve().parent / "corpus"


def put(target, name, data):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(data)


def main():
    scan = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    affine = np.diag([2.0, 2, 2, 1])
    scratch = Path("/tmp/pyadx-corpus")
    scratch.mkdir(exist_ok=True)
    kinds = {
        ".nii": nib.Nifti1Image,
        ".nii.gz": nib.Nifti2Image,
        ".mgz": nib.MGHImage,
        ".mgh": nib.MGHImage,
    }
    for number, suffix in enumerate(SUFFIXES):
        kind = kinds.get(suffix)
        if kind is not None:
            path = scratch / f"scan{suffix}"
            nib.save(kind(scan, affine), path)
            put("volume", f"scan{suffix}", bytes([number]) + path.read_bytes())
    tree = segmentation.ucm(np.random.default_rng(0).random((5, 6, 4), np.float32), min_size=1)
    tree.save(scratch / "tree.npz")
    put("hierarchy", "tree.npz", (scratch / "tree.npz").read_bytes())
    # A checkpoint's header, with weights cut off: the header is what can lie.
    models.save(models.build("resnet-shallow-gap", (16, 16, 16), seed=0), scratch / "net.safetensors")
    put("checkpoint", "net.safetensors", (scratch / "net.safetensors").read_bytes()[:20_000])
    # The record of the training scans, salted and as older versions wrote it.
    for name, record in (
        ("salted", training_record(["s1"], ["I1"], ["0" * 64])),
        ("with-ids", {"training_scans": [{"subject": "s1", "scan": "I1", "sha256": "0" * 64}]}),
    ):
        small = models.build("resnet-shallow-gap", (16, 16, 16), seed=0)
        path = scratch / f"{name}.safetensors"
        models.save(small, path, trained=True, provenance=record)
        put("checkpoint", path.name, path.read_bytes()[:20_000])
    file = io.BytesIO()
    np.savez_compressed(file, *(np.zeros((2, 1, 3, 3, 3), np.float32), np.zeros(2, np.float32)))
    put("lasagne", "two.npz", file.getvalue())
    put("cohort", "plain", b"\x00path,subject,label,date\na.nii,s1,AD,2006-10-27\nb.nii,s2,NC,\n")
    columns = b"Image Data ID,Subject,Group,Sex,Age,Visit,Modality,Description,Type,Acq Date,Format\n"
    row = b"I1,002_S_0001,AD,F,70,1,MRI,Spatially Normalized,Processed,10/27/2006,NiFTI\n"
    put("cohort", "adni", b"\x01" + columns + row)
    put("cohort", "bids", b"\x02participant_id\tgroup\nsub-01\tAD\nsub-02\tNC\n")
    plan = plan_splits({f"s{i}": "AD" if i % 2 else "NC" for i in range(8)}, 1, 2, 0, {})
    plan.save(scratch / "splits.json")
    put("splits", "splits.json", (scratch / "splits.json").read_bytes())
    put("native", "ward", bytes([5, 4, 3, 1, 2, 1, *range(120)]))
    put("native", "holes", bytes([3, 6, 2, 3, 0, 0, *[7, 200, 7, 9] * 20]))


if __name__ == "__main__":
    main()
