"""How well do segmentations follow known regions, at equal numbers of regions? Writes a table.

Inputs: the MNI152 tissue templates (unchanged, and warped with noise and a bias field) and asymmetric
phantoms with known labels. Run: ``python benchmarks/segmentation_quality.py``.
"""

import argparse
import json
import time
from datetime import date
from pathlib import Path

import numpy as np
from scipy import ndimage

from pyadx.segmentation import ucm

COUNTS = (500, 200, 75, 20)
COMPACTNESS = (0.01, 0.05, 0.2)  # of SLIC, for intensities from 0 to 1; the best one is reported
RESULTS = Path(__file__).parent / "results"


def smooth_noise(shape, sigma, random):
    field = ndimage.gaussian_filter(random.standard_normal(shape), sigma)
    return field / np.abs(field).max()


def tissues():
    """MNI152 T1 at 2 mm, and 1 (rest: fluid), 2 (grey), 3 (white matter) inside the brain mask."""
    from nilearn import datasets

    def data(image):
        return np.asarray(image.dataobj, np.float32)

    scan = data(datasets.load_mni152_template(resolution=2))
    grey = data(datasets.load_mni152_gm_template(resolution=2))
    white = data(datasets.load_mni152_wm_template(resolution=2))
    inside = (data(datasets.load_mni152_brain_mask(resolution=2)) > 0) & (scan > 1e-6)
    rest = np.clip(1 - grey - white, 0, 1)
    labels = np.where(inside, 1 + np.argmax([rest, grey, white], 0), 0)
    return np.where(inside, scan / scan.max(), 0), labels


def phantom(seed, shape=(96, 104, 90)):
    """An asymmetric head of nested, folded and scattered structures with known labels."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    fold = 0.12 * smooth_noise(shape, 4, random) + 0.05 * smooth_noise(shape, 2, random)
    radius = np.sqrt((z / 0.8) ** 2 + (y / 0.9) ** 2 + ((x - 0.05) / 0.75) ** 2) + fold
    labels = np.zeros(shape, int)
    labels[radius < 1.0] = 1  # fluid
    labels[radius < 0.93] = 2  # cortex
    labels[radius < 0.74] = 3  # white matter
    values = [0.0, 0.2, 0.55, 0.85]
    for i in range(9):
        centre = random.uniform(-0.4, 0.4, 3)
        size = random.uniform(0.08, 0.22, 3)
        own = sum(((a - c) / s) ** 2 for a, c, s in zip((z, y, x), centre, size, strict=True))
        labels[(own + 2 * fold < 1) & (labels == 3)] = 4 + i
        values.append(float(random.choice([0.22, 0.45, 0.62, 0.7])))
    scan = np.array(values)[labels]
    return ndimage.gaussian_filter(scan, 0.6) * (labels > 0), labels


def warped(scan, labels, seed, amount=5.0):
    random = np.random.default_rng(seed)
    grid = np.indices(scan.shape).astype(np.float64)
    at = grid + amount * np.stack([smooth_noise(scan.shape, 10, random) for _ in range(3)])
    moved = ndimage.map_coordinates(labels, at, order=0)
    return ndimage.map_coordinates(scan, at, order=1) * (moved > 0), moved


def noisy(scan, labels, seed, noise=0.0, bias=0.0):
    random = np.random.default_rng(seed)
    spoiled = scan * (1 + bias * smooth_noise(scan.shape, 20, random))
    real = spoiled + noise * random.standard_normal(scan.shape)  # Rician noise, as in magnitude images
    imaginary = noise * random.standard_normal(scan.shape)
    return np.maximum(np.hypot(real, imaginary), 1e-6) * (labels > 0), labels


def inputs():
    brain = tissues()
    moved = warped(*brain, seed=1)
    yield "MNI152", *brain
    yield "MNI152 warped", *moved
    yield "MNI152 warped, noise 2%", *noisy(*moved, 2, 0.02)
    yield "MNI152 warped, noise 5%", *noisy(*moved, 3, 0.05)
    yield "MNI152 warped, noise 2%, bias 30%", *noisy(*moved, 4, 0.02, 0.3)
    for seed in (11, 12):
        made = phantom(seed)
        yield f"phantom {seed}, noise 2%", *noisy(*made, seed, 0.02)
        yield f"phantom {seed}, noise 5%, bias 20%", *noisy(*made, seed, 0.05, 0.2)


def measures(regions, scan, labels):
    """Agreement of regions with labels, inside the mask."""
    inside = labels > 0
    own, true, values = regions[inside], labels[inside], scan[inside].astype(np.float64)
    table = np.zeros((own.max() + 1, true.max() + 1))
    np.add.at(table, (own, true), 1)
    sizes = table.sum(1)
    sums = np.bincount(own, values, minlength=len(sizes))
    means = sums / np.maximum(sizes, 1)
    between = (sizes * (means - values.mean()) ** 2).sum()
    edges, truth = boundary(regions, inside), boundary(labels, inside)
    near = ndimage.binary_dilation(edges, iterations=1)
    leak = np.minimum(table, sizes[:, None] - table).sum() / len(true)
    return {
        "regions": int((sizes > 0).sum()),
        "ASA": float(table.max(1).sum() / len(true)),
        "explained variation": float(between / ((values - values.mean()) ** 2).sum()),
        "under-segmentation": float(leak),
        "boundary recall": float((near & truth).sum() / truth.sum()),
        "boundary fraction": float(edges.sum() / inside.sum()),
        "largest": float(sizes.max() / len(true)),
    }


def boundary(labels, inside):
    found = np.zeros(labels.shape, bool)
    for axis in range(3):
        for part, other in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
            at = tuple(part if a == axis else slice(None) for a in range(3))
            to = tuple(other if a == axis else slice(None) for a in range(3))
            found[at] |= (labels[at] != labels[to]) & inside[at] & inside[to]
    return found


def pyadx_method(**options):
    def run(scan, labels):
        hierarchy = ucm(scan, labels > 0, **options)
        return {count: hierarchy.cut(count) for count in COUNTS}

    return run


def higra_boundary(scan, labels):
    """Watershed and average linkage of higra on the same gradient, inside the mask."""
    import higra

    inside = labels > 0
    shape = scan.shape
    strength = ndimage.gaussian_gradient_magnitude(scan, 0.5)
    index = np.arange(scan.size).reshape(shape)
    pairs = []
    for axis in range(3):
        near = np.take(index, range(shape[axis] - 1), axis).ravel()
        far = np.take(index, range(1, shape[axis]), axis).ravel()
        both = inside.ravel()[near] & inside.ravel()[far]
        pairs.append(np.stack([near[both], far[both]], 1))
    number = np.cumsum(inside.ravel()) - 1
    pairs = number[np.concatenate(pairs)]
    graph = higra.UndirectedGraph(int(inside.sum()))
    graph.add_edges(pairs[:, 0], pairs[:, 1])
    flat = strength[inside]
    weights = (flat[pairs[:, 0]] + flat[pairs[:, 1]]) / 2
    basins = higra.labelisation_watershed(graph, weights)
    rag = higra.make_region_adjacency_graph_from_labelisation(graph, basins)
    mean = higra.rag_accumulate_on_edges(rag, higra.Accumulators.mean, weights)
    length = higra.rag_accumulate_on_edges(rag, higra.Accumulators.sum, np.ones(len(weights)))
    tree, altitude = higra.binary_partition_tree_average_linkage(rag, mean, length)
    found = {}
    for count in COUNTS:
        cut = higra.labelisation_horizontal_cut_from_num_regions(tree, altitude, count)
        regions = np.zeros(shape, int)
        regions[inside] = cut + 1  # higra gives a cut as labels of the vertices
        found[count] = regions
    return found


def slic(scan, labels):
    from skimage.segmentation import slic as run

    inside = labels > 0
    found = {}
    for count in COUNTS:
        tried = [
            run(scan, count, compactness, mask=inside, channel_axis=None, start_label=1)
            for compactness in COMPACTNESS
        ]
        found[count] = max(tried, key=lambda regions: measures(regions, scan, labels)["ASA"])
    return found


def methods():
    yield "pyadx default", pyadx_method()
    for cue in ("gradient", "chi2"):
        for linkage in ("ward", "hybrid", "gbh", "boundary"):
            if (cue, linkage) != ("gradient", "ward"):
                yield f"pyadx {cue} + {linkage}", pyadx_method(cue=cue, linkage=linkage)
    yield "pyadx preset paper", pyadx_method(preset="paper")
    yield "pyadx preset release", pyadx_method(preset="release")
    yield "higra watershed + average linkage", higra_boundary
    yield "scikit-image SLIC (not nested)", slic


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only methods with this text in their name")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{date.today()}-segmentation-quality.json")
    arguments = parser.parse_args()
    rows = []
    data = list(inputs())
    for method, run in methods():
        if arguments.only and arguments.only not in method:
            continue
        for name, scan, labels in data:
            started = time.perf_counter()
            found = run(scan, labels)
            seconds = time.perf_counter() - started
            for count, regions in found.items():
                row = {"method": method, "input": name, "K": count, **measures(regions, scan, labels)}
                rows.append({**row, "seconds": seconds})
        mean = [np.mean([r["ASA"] for r in rows if r["method"] == method and r["K"] == k]) for k in COUNTS]
        print(method, *(f"{m:.3f}" for m in mean), flush=True)
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(table(rows))


def table(rows):
    """Means over the inputs per method and K, then every input's ASA."""
    columns = list(rows[0])[4:-1]
    lines = ["# Segmentation quality", "", "Means over the inputs; ASA also per input below. Command:"]
    lines += ["`python benchmarks/segmentation_quality.py`. For SLIC, the compactness with the best ASA"]
    lines += [
        f"of {COMPACTNESS} counts. Phantoms are synthetic; tissue labels are the templates' most probable.",
        "",
    ]
    lines += ["| method | K | " + " | ".join(columns) + " |", "| --- | ---: |" + " ---: |" * len(columns)]
    names = list(dict.fromkeys(r["method"] for r in rows))
    for count in COUNTS:
        for name in names:
            own = [r for r in rows if r["method"] == name and r["K"] == count]
            means = [f"{np.mean([r[c] for r in own]):.3f}" for c in columns]
            lines.append(f"| {name} | {count} | " + " | ".join(means) + " |")
    data = list(dict.fromkeys(r["input"] for r in rows))
    lines += ["", "ASA per input", "", "| method | K | " + " | ".join(data) + " |"]
    lines += ["| --- | ---: |" + " ---: |" * len(data)]
    by = {(r["method"], r["K"], r["input"]): r["ASA"] for r in rows}
    for count in COUNTS:
        for name in names:
            cells = [f"{by[name, count, d]:.3f}" for d in data]
            lines.append(f"| {name} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
