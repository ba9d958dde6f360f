"""What is fuzzed: every reader of files that somebody else may have made, and the native entry points.

A target gets arbitrary bytes. A ``ValueError`` (wrong input, told in one line) is an answer; anything else,
a crash of the process included, is a finding.
"""

import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np

# Memory, where there is such a folder: millions of small files are written.
_BASE = "/dev/shm" if os.path.isdir("/dev/shm") else None
FOLDER = Path(tempfile.mkdtemp(prefix="pyadx-fuzz-", dir=_BASE))


def _read(name, data, reader):
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        return reader(path)
    except ValueError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error!r}") from None
        return None


def volume(data):
    """The first byte chooses the kind of file."""
    from pyadx.data.scans import SUFFIXES, read_scan

    if data:
        with warnings.catch_warnings(record=True) as told:
            _read(f"scan{SUFFIXES[data[0] % len(SUFFIXES)]}", data[1:], read_scan)
        if any("\n" in str(one.message) for one in told if one.category is UserWarning):
            raise AssertionError("a warning of more than one line")


def hierarchy(data):
    from pyadx.segmentation import load

    tree = _read("tree.npz", data, load)
    if tree is not None:
        tree.labels(0)
        tree.cut(n_regions=2)


def checkpoint(data):
    from pyadx import models
    from pyadx.models.training_scans import seen_in_training, stripped

    _read("net.safetensors", data, models.load)
    # The corpus holds headers without weights, so the card is read once more, by itself.
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        card = models.ModelCard.from_dict(json.loads(header["__metadata__"]["pyadx"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    seen_in_training(card, "0" * 64, "sub-01")
    stripped(card.provenance)


def lasagne(data):
    from pyadx.models.lasagne import read_lasagne

    _read("net.npz", data, lambda path: read_lasagne(path, "resnet-shallow-gap", (16, 16, 16)))


def cohort(data):
    """The first byte chooses the layout, or which table of a BIDS data set it is."""
    from pyadx.data.cohort import read_cohort

    if not data:
        return
    kind, text = data[0] % 6, data[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == 0:
            _read("cohort.csv", text, read_cohort)
        elif kind == 1:
            _read("adni.csv", text, read_cohort)
        elif kind == 2:
            _read("bids/participants.tsv", text, lambda path: read_cohort(_bids("bids")))
        elif kind == 5:
            _read("cohort.tsv", text, read_cohort)
        else:
            root = _bids("tables")
            people = "participant_id\nsub-1\nsub-2\n" if kind == 3 else "participant_id\tgroup\nsub-1\tNC\n"
            (root / "participants.tsv").write_text(people)
            (root / "sub-1/sub-1_sessions.tsv").unlink(missing_ok=True)
            (root / "sub-1/sub-1_scans.tsv").unlink(missing_ok=True)
            name = f"sub-1_{'sessions' if kind == 3 else 'scans'}.tsv"
            _read(f"tables/sub-1/{name}", text, lambda path: read_cohort(root))
            _read(f"tables/sub-1/{name}", text, lambda path: read_cohort(root, None, sessions="all"))


def _bids(name):
    """A BIDS data set of three scans, of which nobody reads more than the names."""
    root = FOLDER / name
    for scan in ("sub-1/ses-1", "sub-1/ses-10", "sub-2"):
        folder = root / scan / "anat"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            (folder / f"{scan.replace('/', '_')}_T1w.nii").touch()
    return root


def splits(data):
    from pyadx.data.cohort.splits import load_plan

    _read("splits.json", data, load_plan)


def native(data):
    """Watershed, region graph, merge tree and cuts of a volume of bytes, of a shape that the bytes say."""
    from pyadx import _ucm

    if len(data) < 8:
        return
    shape = tuple(1 + byte % 12 for byte in data[:3])
    linkage = ("boundary", "ward", "hybrid", "gbh")[data[3] % 4]
    min_size, connected = data[4] % 8, data[5] % 2
    body = np.frombuffer(data[6:], np.uint8)
    voxels = int(np.prod(shape))
    relief = np.resize(body, voxels).reshape(shape).astype(np.uint16)
    mask = np.ones(shape, np.uint8) if connected else (relief % 3 != 0).astype(np.uint8)
    try:
        regions, count = _ucm.watershed(relief, mask, 1)
        sizes = np.bincount(regions[regions >= 0], minlength=count).astype(np.int64)
        graph = _ucm.region_graph(relief, regions, [1, 1, 1], None, [], 1)
        pairs, sums, weights = graph[:3]
        _ucm.merge_regions(pairs, sums, weights, sizes, sizes * 3, linkage, min_size, 1.0, 1.0)
        # Arrays that contradict each other must be refused, not followed.
        wild = np.resize(np.frombuffer(data[6:], np.int8), pairs.size).reshape(pairs.shape).astype(np.int32)
        _ucm.merge_regions(wild, sums, weights, sizes, sizes, linkage, min_size, 1.0, 1.0)
    except (ValueError, TypeError):
        return


TARGETS = {
    target.__name__: target for target in (volume, hierarchy, checkpoint, lasagne, cohort, splits, native)
}
