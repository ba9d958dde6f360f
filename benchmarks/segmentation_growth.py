"""How do time and memory of the segmentation grow with the volume? Writes a table and a log-log plot.

Sizes from 64^3 to the MNI152 template at 1 mm, each in its own process. Run:
``python benchmarks/segmentation_growth.py``.
"""

import json
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
EDGES = (64, 80, 96, 110, 128, 160, None)  # None: the template as it is, 197x233x189
ROUNDS = 5


def volume_of(edge):
    from nilearn.datasets import load_mni152_template
    from scipy import ndimage

    scan = np.asarray(load_mni152_template(resolution=1).dataobj, np.float32)
    if edge is not None:
        scan = ndimage.zoom(scan, [edge / n for n in scan.shape], order=1)
    return np.where(scan < 1e-6, np.float32(0), scan)


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(edge):
    """Time and peak memory of the native core alone: watershed, region graph, merge tree."""
    from pyadx import _ucm
    from pyadx.segmentation.cues import gradient_cue
    from pyadx.segmentation.smoothing import prepare, quantise

    volume = volume_of(edge)
    prepared = prepare(volume, volume != 0, (1.0, 1.0, 1.0), 0.35)
    relief = quantise(gradient_cue(prepared, 1).strength)
    mask = prepared.mask

    def run():
        regions, count = _ucm.watershed(relief, mask, 2)
        sizes = np.bincount(regions[regions >= 0], minlength=count).astype(np.int64)
        graph = _ucm.region_graph(relief, regions, [1, 1, 1], None, [], 2)
        merges, altitudes = _ucm.merge_regions(*graph, sizes, sizes, "boundary", 0, 1.0, 1.0)
        return _ucm.depth_first(merges, altitudes, sizes), count

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident()
    tree, count = run()
    peak = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    del tree
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return {
        "shape": list(volume.shape),
        "voxels": int(volume.size),
        "brain_voxels": int(mask.sum()),
        "regions": count,
        "seconds": float(np.median(seconds)),
        "peak_above_input_mb": (peak - before) / 1e6,
    }


def main():
    if len(sys.argv) > 1:
        print(json.dumps(measure(None if sys.argv[1] == "None" else int(sys.argv[1]))))
        return
    rows = []
    for edge in EDGES:
        output = subprocess.run([sys.executable, __file__, str(edge)], capture_output=True, check=True)
        rows.append(json.loads(output.stdout))
        print(rows[-1], flush=True)
    voxels, seconds = (np.log([r[k] for r in rows]) for k in ("brain_voxels", "seconds"))
    slope = float(np.polyfit(voxels, seconds, 1)[0])
    stem = RESULTS / f"{date.today()}-segmentation-growth"
    stem.with_suffix(".json").write_text(json.dumps({"slope": slope, "rows": rows}, indent=1) + "\n")
    plot(rows, slope, stem.with_suffix(".png"))
    print("time grows with brain voxels to the power", round(slope, 2))


def plot(rows, slope, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    x, y = [r["brain_voxels"] for r in rows], [r["seconds"] * 1e3 for r in rows]
    axes.loglog(x, y, "o-", label=f"measured, slope {slope:.2f}")
    axes.loglog(x, [y[0] * n / x[0] for n in x], "--", color="gray", label="linear")
    axes.set_xlabel("brain voxels")
    axes.set_ylabel("watershed + region graph + merge tree, ms")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
