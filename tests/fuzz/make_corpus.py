"""Writes the corpus: a small valid input of every kind. ``python tests/fuzz/make_corpus.py``."""

import gzip
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


def put_odd_headers(scan, affine, scratch):
    """Write headers that say two things, or nothing, about where a scan lies, and files of another name."""
    number = {suffix: i for i, suffix in enumerate(SUFFIXES)}
    nii, packed, mgh, mgz = (bytes([number[suffix]]) for suffix in (".nii", ".nii.gz", ".mgh", ".mgz"))
    image = nib.Nifti1Image(scan, affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Name: nobody"))
    image.set_sform(affine, 1)
    image.set_qform(affine @ np.diag([-1, 1, 1, 1]), 1)
    plain = image.to_bytes()
    put("volume", "two-forms.nii", nii + plain)
    put("volume", "not-packed.nii.gz", packed + plain)
    put("volume", "packed.nii", nii + gzip.compress(plain, mtime=0))
    members = [gzip.compress(plain[at : at + 200], mtime=0) for at in range(0, len(plain), 200)]
    put("volume", "members.nii.gz", packed + b"".join(members))
    for name, fields in (("codes-0", ((252, 4),)), ("pixdim-0", ((80, 12),)), ("singular", ((280, 48),))):
        content = bytearray(plain)
        for at, length in fields:
            content[at : at + length] = bytes(length)
        put("volume", f"{name}.nii", nii + bytes(content))
    big = nib.Nifti1Image(scan, affine, nib.Nifti1Header(endianness=">"))
    put("volume", "big-endian.nii", nii + big.to_bytes())
    channels = nib.Nifti1Image(np.stack([scan, scan]), affine)
    put("volume", "channels-first.nii", nii + channels.to_bytes())
    nib.save(nib.MGHImage(scan, affine), scratch / "odd.mgh")
    content = bytearray((scratch / "odd.mgh").read_bytes())
    content[28:30] = bytes(2)  # goodRASFlag
    put("volume", "no-orientation.mgh", mgh + bytes(content))
    put("volume", "not-packed.mgz", mgz + bytes(content))


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
    put_odd_headers(scan, affine, scratch)
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
    quotes = b'participant_id\tgroup\tnote\nsub-1\tAD\t"big head\nsub-2\tNC\t5" coil\n'
    put("cohort", "quotes", b"\x02" + quotes)
    put("cohort", "ragged", b"\x02participant_id\tgroup\nsub-1\n\nsub-2\tNC\tx\n")
    put("cohort", "swallowed", b'\x00path,subject,label,note\na.nii,s1,AD,"big\nb.nii,s2,NC,5"\n')
    put("cohort", "quoted", b'\x05"path"\t"subject"\t"label"\n"a.nii"\t"s\\"1"\t"AD"\n')
    days = b"session_id\tacq_time\tdiagnosis\nses-1\t15/12/2010\tCN\nses-10\t2010-12-15T10:00:00.5Z\tAD\n"
    put("cohort", "sessions", b"\x03" + days)
    put("cohort", "scans", b"\x04filename\tacq_time\nses-1/anat/sub-1_ses-1_T1w.nii\t2010-12-15 10:00\n")
    plan = plan_splits({f"s{i}": "AD" if i % 2 else "NC" for i in range(8)}, 1, 2, 0, {})
    plan.save(scratch / "splits.json")
    put("splits", "splits.json", (scratch / "splits.json").read_bytes())
    put("native", "ward", bytes([5, 4, 3, 1, 2, 1, *range(120)]))
    put("native", "holes", bytes([3, 6, 2, 3, 0, 0, *[7, 200, 7, 9] * 20]))


if __name__ == "__main__":
    main()
