"""What share of the boxes of segments can change at all, layer by layer? Nothing is timed.

``python benchmarks/region_boxes.py --network vggnet --side 110 --regions 100`` follows segments of the
MNI152 brain's hierarchy through a network. For every step it prints the number of cells of the single box
around all changes, and which share of them other ways would visit: rows from the first to the last cell
that can change (as the patch operators do), two, three or eight disjoint boxes, blocks of 4^3 cells, runs
of 4 cells, and only the cells that can change. ``--every`` takes all segments of the hierarchy instead of a
cut.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from brain import brain

from pyadx import models
from pyadx.explainers.players import Choice, players_of_tree
from pyadx.explainers.references import reference_volume
from pyadx.inference import IncrementalScorer
from pyadx.inference.incremental.operations.addition import Sum
from pyadx.inference.incremental.operations.average_pool import AveragePool
from pyadx.inference.incremental.operations.convolution import Convolution
from pyadx.inference.incremental.operations.linear import FlattenedLinear
from pyadx.inference.incremental.operations.max_pool import MaxPool
from pyadx.inference.segments import distinct_segments
from pyadx.models.demonstration import NETWORKS, demonstration_checkpoint
from pyadx.segmentation import ucm

WAYS = ("one box", "rows", "2 boxes", "3 boxes", "8 boxes", "blocks of 4^3", "runs of 4", "cells")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="vggnet")
    parser.add_argument("--side", type=int, default=110)
    parser.add_argument("--regions", type=int, default=100)
    parser.add_argument("--every", action="store_true", help="all segments of the hierarchy, not a cut")
    parser.add_argument("--sample", type=int, default=40)
    options = parser.parse_args()
    print(table(*measure(options)))


def measure(options):
    """Return names of steps, products per cell, and mean cells ``[steps, ways]``."""
    known = options.network in NETWORKS
    model = (
        models.load(demonstration_checkpoint(options.network))
        if known
        else models.build(options.network, (options.side,) * 3, seed=0)
    ).eval()
    scan = torch.from_numpy(brain())[None]
    if options.side < scan.shape[1]:
        scan = F.avg_pool3d(scan, scan.shape[1] // options.side)
    tree = ucm(scan[0], (scan[0] > 0).numpy(), max_regions=options.regions)
    fill = reference_volume("local", scan, model, spacing=2.0 * (110 // options.side))
    players = players_of_tree(tree, Choice(options.regions), None)
    own = (tree.leaves, tree.regions) if options.every else (players.numbers, players.intervals)
    regions = distinct_segments(scan, *own, fill)
    scorer = IncrementalScorer(model, scan, 1, fill=fill)
    steps = scorer.lowered.furthest.steps
    chosen = np.random.default_rng(0).permutation(len(regions.boxes))[: options.sample]
    total = np.zeros((len(steps), len(WAYS)))
    for place in chosen:
        low, high = regions.segments.intervals[place]
        labels = regions.segments.labels
        total += follow(scorer.lowered, (labels >= int(low)) & (labels < int(high)))
    names, weights = zip(*(describe(step) for step in steps), strict=True)
    share = 100 * total[0, -1] / max(total[0, 0], 1)
    taken = f"{len(chosen)} of {len(regions.boxes)} segments"
    print(f"{options.network}: {taken} fill {share:.1f}% of their boxes")
    return names, np.array(weights), total / len(chosen)


def describe(step):
    """Return a step's name and its products per cell of its input."""
    name = f"{type(step).__name__} {tuple(step.size) if step.boxed else ''}"
    if isinstance(step, Convolution):
        return name, step.weight.numel() / float(np.prod(step.window.stride))
    return name, 0.0


def follow(network, inside):
    """Return how many cells of every step's input each of `WAYS` visits, ``[steps, ways]``."""
    changes = {network.trace.input: inside}
    steps = network.furthest.steps
    out = np.zeros((len(steps), len(WAYS)))
    for row, step in enumerate(steps):
        if not all(node in changes for node in step.inputs):
            continue
        own = changes[step.inputs[0]]
        out[row] = visited(own.numpy())
        if isinstance(step, FlattenedLinear) or not step.boxed:
            continue
        if isinstance(step, (Convolution, MaxPool, AveragePool)):
            changes[step.output] = grown(own, step)
        elif isinstance(step, Sum):
            changes[step.output] = torch.stack([changes[node] for node in step.inputs]).any(0)
        else:
            changes[step.output] = own
    return out


def grown(own, step):
    """Return the outputs whose window meets a cell that can change."""
    window = step.window
    pad = [n for axis in (2, 1, 0) for n in (window.padding[axis], window.reach[axis])]
    padded = F.pad(own[None, None].float(), pad)
    met = F.max_pool3d(padded, window.kernel, window.stride, 0, window.dilation)[0, 0] > 0
    z, y, x = step.size
    return met[:z, :y, :x]


def visited(own):
    """Return how many cells each of `WAYS` visits."""
    if not own.any():
        return np.zeros(len(WAYS))
    boxes = {1: [tight(own)]}
    for count in (2, 3, 8):
        boxes[count] = cover(own, count)
    box = own[bx_slices(boxes[1][0])]
    columns = np.arange(box.shape[2])
    some = box.any(2)
    first = np.where(box, columns, box.shape[2]).min(2)
    last = np.where(box, columns, -1).max(2)
    padded = np.pad(box, [(0, -n % 4) for n in box.shape])
    z, y, x = (n // 4 for n in padded.shape)
    blocks = padded.reshape(z, 4, y, 4, x, 4).any((1, 3, 5)).sum() * 64
    runs = padded.reshape(*padded.shape[:2], x, 4).any(3).sum() * 4
    size = {count: sum(float(np.prod(np.subtract(b[3:], b[:3]))) for b in own_boxes)
            for count, own_boxes in boxes.items()}  # fmt: skip
    return np.array([size[1], ((last - first + 1) * some).sum(), size[2], size[3], size[8],
                     min(blocks, box.size), min(runs, box.size), box.sum()], float)  # fmt: skip


def bx_slices(box):
    return tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))


def tight(own, offset=(0, 0, 0)):
    """Return the smallest box around cells."""
    at = [np.flatnonzero(own.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return [int(a[0]) + o for a, o in zip(at, offset, strict=True)] + [
        int(a[-1]) + 1 + o for a, o in zip(at, offset, strict=True)
    ]


def cover(own, count):
    """Return disjoint boxes, by repeating the cut that saves most."""
    boxes = [tight(own)]
    while len(boxes) < count:
        best = (0.0, 0, [])
        for place, box in enumerate(boxes):
            saved, parts = best_cut(own[bx_slices(box)], box[:3])
            if saved > best[0]:
                best = (saved, place, parts)
        if not best[2]:
            break
        boxes[best[1] : best[1] + 1] = best[2]
    return boxes


def best_cut(own, offset):
    """Return how many cells the best cut of a box saves, and its two parts."""
    best, found = 0.0, None
    for axis in range(3):
        moved = np.moveaxis(own, axis, 0)
        front, back = growing(moved), growing(moved[::-1])[::-1]
        sizes = front[:-1] + back[1:]
        if len(sizes) and own.size - sizes.min() > best:
            best, found = own.size - sizes.min(), (axis, int(sizes.argmin()) + 1)
    if found is None:
        return 0.0, []
    axis, at = found
    low = [slice(None)] * 3
    high = list(low)
    low[axis], high[axis] = slice(0, at), slice(at, None)
    shift = list(offset)
    shift[axis] += at
    return best, [tight(own[tuple(low)], offset), tight(own[tuple(high)], shift)]


def growing(own):
    """Return the size of the smallest box around the first n planes, for every n from 1."""
    planes = own.any((1, 2))
    last = np.maximum.accumulate(np.where(planes, np.arange(len(own)), -1))
    size = (last - np.argmax(planes) + 1).clip(0).astype(float)
    for axis in (1, 2):
        lines = np.logical_or.accumulate(own.any(3 - axis), 0)
        columns = np.arange(lines.shape[1])
        high = np.where(lines, columns, -1).max(1)
        low = np.where(lines, columns, lines.shape[1]).min(1)
        size = size * (high - low + 1).clip(0)
    return size


def table(names, weights, cells):
    """Return Markdown: cells of the single box, shares of it, and operations of all convolutions."""
    out = ["| step | cells of the box | MFLOP | " + " | ".join(WAYS[1:]) + " |"]
    out.append("| --- | ---: | ---: |" + " ---: |" * (len(WAYS) - 1))
    for name, weight, row in zip(names, weights, cells, strict=True):
        if row[0] == 0:
            continue
        shares = " | ".join(f"{100 * own / row[0]:.0f}" for own in row[1:])
        out.append(f"| {name} | {row[0]:,.0f} | {2e-6 * weight * row[0]:,.0f} | {shares} |")
    whole = 2e-6 * (weights[:, None] * cells).sum(0)
    shares = " | ".join(f"{100 * own / whole[0]:.0f}" for own in whole[1:])
    out.append(f"| all products | | {whole[0]:,.0f} | {shares} |")
    return "\n".join(out)


if __name__ == "__main__":
    main()
