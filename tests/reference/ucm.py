"""Slow, obvious twins of the segmentation core."""

import numpy as np


def score(linkage, edge, a, b, strength_unit, intensity_unit):
    strength = edge[0] / edge[1] * strength_unit
    if linkage == "boundary":
        return strength
    first, second = (a, b) if a["leaf"] < b["leaf"] else (b, a)
    sizes = float(first["size"]), float(second["size"])
    difference = (first["sum"] / sizes[0] - second["sum"] / sizes[1]) * intensity_unit
    mass = sizes[0] * sizes[1] / (sizes[0] + sizes[1])
    if linkage == "ward":
        return difference * difference * mass
    return (strength * strength + difference * difference) * mass


def merge_regions(pairs, sums, weights, sizes, intensities, linkage, min_size, units=(1.0, 1.0)):
    """All edges are looked at before every merge; merges are sets of leaves, with their altitudes."""
    regions = {
        i: {"leaf": i, "size": int(s), "sum": int(v), "leaves": frozenset([i])}
        for i, (s, v) in enumerate(zip(sizes, intensities, strict=True))
    }
    edges = {}
    for (a, b), total, weight in zip(pairs, sums, weights, strict=True):
        edges[frozenset((int(a), int(b)))] = (int(total), int(weight))
    merges, altitude, fresh = [], 0.0, len(regions)

    def key(pair):
        a, b = (regions[i] for i in pair)
        leaves = sorted((a["leaf"], b["leaf"]))
        return (score(linkage, edges[pair], a, b, *units), *leaves)

    def join(a, b, height):
        nonlocal fresh
        one, two = regions.pop(a), regions.pop(b)
        regions[fresh] = {
            "leaf": max(one["leaf"], two["leaf"]),
            "size": one["size"] + two["size"],
            "sum": one["sum"] + two["sum"],
            "leaves": one["leaves"] | two["leaves"],
        }
        merges.append((frozenset((one["leaves"], two["leaves"])), height))
        for pair in [p for p in edges if a in p or b in p]:
            total, weight = edges.pop(pair)
            others = pair - {a, b}
            if others:
                new = frozenset((fresh, *others))
                old = edges.get(new, (0, 0))
                edges[new] = (old[0] + total, old[1] + weight)
        fresh += 1

    while True:
        small = sorted(
            (r["size"], r["leaf"], i)
            for i, r in regions.items()
            if r["size"] < min_size and any(i in p for p in edges)
        )
        if not small:
            break
        own = small[0][2]
        join(*min((p for p in edges if own in p), key=key), 0.0)
    while edges:
        pair = min(edges, key=key)
        altitude = max(altitude, key(pair)[0])
        join(*pair, altitude)
    left = sorted(regions, key=lambda i: regions[i]["leaf"])
    while len(left) > 1:
        join(left[0], left.pop(1), np.inf)
        left[0] = fresh - 1
    return merges


def watershed(relief, mask):
    """Drop of water: every voxel walks to its lowest neighbour; plateaus drain to their nearest outlet."""
    steps = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    voxels = [tuple(int(i) for i in v) for v in np.argwhere(mask)]

    def neighbours(v):
        for step in steps:
            n = tuple(a + b for a, b in zip(v, step, strict=True))
            if all(0 <= a < size for a, size in zip(n, relief.shape, strict=True)) and mask[n]:
                yield n

    flow = {}
    for v in voxels:
        lower = [n for n in neighbours(v) if relief[n] < relief[v]]
        if lower:
            flow[v] = min(lower, key=lambda n: relief[n])
    ring = [v for v in voxels if v in flow]
    while ring:
        reached = []
        for v in ring:
            for n in neighbours(v):
                if n not in flow and relief[n] == relief[v]:
                    flow[n] = v
                    reached.append(n)
        ring = reached
    labels = np.full(relief.shape, -1, np.int32)
    basins = 0
    for v in voxels:
        if v in flow or labels[v] >= 0:
            continue
        stack = [v]
        labels[v] = basins
        while stack:
            for n in neighbours(stack.pop()):
                if n not in flow and labels[n] < 0:
                    labels[n] = basins
                    stack.append(n)
        basins += 1
    for v in voxels:
        path = v
        while labels[path] < 0:
            path = flow[path]
        labels[v] = labels[path]
    return labels, basins


def region_graph(relief, labels):
    """Pairs of regions with the sum of the relief over both sides of their faces, and twice the faces."""
    found = {}
    for axis in range(3):
        near = np.take(np.arange(labels.size).reshape(labels.shape), range(labels.shape[axis] - 1), axis)
        far = np.take(np.arange(labels.size).reshape(labels.shape), range(1, labels.shape[axis]), axis)
        for p, q in zip(near.ravel(), far.ravel(), strict=True):
            a, b = labels.flat[p], labels.flat[q]
            if a >= 0 and b >= 0 and a != b:
                pair = (int(min(a, b)), int(max(a, b)))
                total, weight = found.get(pair, (0, 0))
                found[pair] = (total + int(relief.flat[p]) + int(relief.flat[q]), weight + 2)
    return found


def chi_square(bins, radii, normals, spacing=(1.0, 1.0, 1.0)):
    """Histograms of both half balls of every voxel, direction by direction."""
    strength, direction = np.zeros(bins.shape), np.zeros(bins.shape, int)
    voxels = np.argwhere(bins < 10)
    values = bins[tuple(voxels.T)]
    for at in voxels:
        offsets = (voxels - at) * np.array(spacing)
        distance = np.sqrt((offsets**2).sum(1))
        total = np.zeros(len(normals))
        for k, normal in enumerate(normals):
            side = offsets @ normal
            for radius in radii:
                ball = distance <= radius + 1e-9
                plus = np.bincount(values[ball & (side > 1e-9)], minlength=10).astype(float)
                minus = np.bincount(values[ball & (side < -1e-9)], minlength=10).astype(float)
                if plus.sum() == 0 or minus.sum() == 0:
                    continue
                plus, minus = plus / plus.sum(), minus / minus.sum()
                both = plus + minus
                some = both > 0
                total[k] += 0.5 * ((plus - minus)[some] ** 2 / both[some]).sum()
        strength[tuple(at)], direction[tuple(at)] = total.max(), total.argmax()
    return strength, direction
