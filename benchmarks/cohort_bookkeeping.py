"""How long does the bookkeeping of a large cohort take? ``python benchmarks/cohort_bookkeeping.py``.

Measures the time to read a table of ``--scans`` scans, to check their ids, to write the manifest line by
line, to read it again, and to verify heatmaps by their hash. Files are on the disk of ``--folder``.
"""

import argparse
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pyadx.commands.cohorts.manifest import Entry, Manifest, file_sha256
from pyadx.data.cohort import read_cohort
from pyadx.data.derivatives import check_scans


@contextmanager
def timed(what, count):
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    print(f"| {what} | {count:,} | {seconds:.2f} | {seconds / count * 1e6:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    names = [f"s{number:06}" for number in range(asked.scans)]
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        root = Path(folder)
        (root / "scans").mkdir()
        for name in names:
            (root / "scans" / f"{name}.nii").touch()
        rows = [f"scans/{name}.nii,{name},{('NC', 'AD')[number % 2]}" for number, name in enumerate(names)]
        (root / "cohort.csv").write_text("\n".join(["path,subject,label", *rows]) + "\n")
        print("| what | number | s | us each |\n| --- | ---: | ---: | ---: |")
        with timed("read the table", asked.scans):
            scans = read_cohort(root / "cohort.csv", ("NC", "AD")).scans
        assert len(scans) == asked.scans
        with timed("check ids", asked.scans):
            check_scans(root, scans, "gradcam")
        entries = [
            Entry(name, f"{root}/scans/{name}.nii", "0" * 16, "done", "", 0.5, f"sub-{name}/heat", "0" * 64)
            for name in names
        ]
        manifest = Manifest(root / "manifest.jsonl")
        with timed("append to the manifest, each waiting for the disk", asked.scans):
            for entry in entries:
                manifest.add(entry)
        with timed("read the manifest", asked.scans):
            found = Manifest(root / "manifest.jsonl").entries
        assert len(found) == asked.scans
        heatmap = root / "heatmap"
        heatmap.write_bytes(np.random.default_rng(0).bytes(2_670_000))
        with timed("verify heatmaps of 2.67 MB, from memory", 200):
            for _ in range(200):
                file_sha256(heatmap)


if __name__ == "__main__":
    main()
