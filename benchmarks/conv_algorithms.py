"""How long does each algorithm of the patch convolution take, per window inside a brain and per layer?

``python benchmarks/conv_algorithms.py vggnet resnet`` prints Markdown. All algorithms score the same
windows of 7^3 voxels, drawn from the distinct ones of the stride-1 map of the MNI152 brain. They take turns
in every round. Layers are timed with the changes of one batch. Times are medians: of CPU time on one
thread, which a busy machine disturbs less, and of wall-clock time on several.
"""

import argparse
import os
import time

import numpy as np
import torch
from brain import brain
from networks_table import processor

from pyadx import models
from pyadx.explainers.windows import WindowGrid
from pyadx.inference import IncrementalScorer
from pyadx.inference.incremental.operations.convolution import Convolution
from pyadx.inference.regions import Regions
from pyadx.models.demonstration import demonstration_checkpoint
from pyadx.ops import patches
from pyadx.ops.toom_cook import transformed_weight

ALGORITHMS = ("direct", "toom2", "toom4", "auto")


def clock():
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def interleaved(calls, rounds):
    """Median seconds of every call. Calls take turns in every round; the first round warms up."""
    now = clock()
    spent = [[] for _ in calls]
    for _ in range(rounds + 1):
        for own, call in zip(spent, calls, strict=True):
            started = now()
            call()
            own.append(now() - started)
    return [float(np.median(own[1:])) for own in spent]


def network(name):
    if not name.endswith("-trained"):
        return models.build(name, seed=0).eval()
    return models.load(demonstration_checkpoint(name.removesuffix("-trained"))).eval()


def per_window(name, count, rounds):
    model, scan = network(name), torch.from_numpy(brain())[None]
    scorers = {}
    for algorithm in ALGORITHMS:
        os.environ["PYADX_CONV"] = algorithm
        scorers[algorithm] = IncrementalScorer(model, scan, 1, score="logit")
    boxes = scorers["auto"].regions(WindowGrid((110,) * 3, (7,) * 3, (1,) * 3).boxes()).boxes
    chosen = np.sort(np.random.default_rng(0).choice(len(boxes), count, replace=False))
    regions = Regions(boxes[chosen], np.arange(count))
    calls = [lambda s=scorer: s.score_regions(regions) for scorer in scorers.values()]
    seconds = interleaved(calls, rounds)
    cells = " | ".join(f"{1e3 * s / count:.3f}" for s in seconds)
    print(f"| {name} | {torch.get_num_threads()} | {cells} | {seconds[0] / seconds[-1]:.2f} |", flush=True)
    return scorers["auto"], regions


def layers_of(scorer, regions):
    """The input of every convolution, for the last and largest batch of these regions."""
    seen = {}
    original = Convolution._convolved

    def watched(self, batch, source, before):
        result = original(self, batch, source, before)
        known = seen.get(self)
        if known is None or len(source.data) >= len(known[0]):
            out_boxes = batch.boxes[self.output]
            seen[self] = (source.data.clone(), source.boxes.clone(), out_boxes.clone(), before)
        return result

    Convolution._convolved = watched
    try:
        scorer.score_regions(regions)
    finally:
        Convolution._convolved = original
    return seen


def layer_seconds(step, data, boxes, out_boxes, before, rounds):
    slot = (out_boxes[:, 3:] - out_boxes[:, :3]).amax(0).tolist()
    out = data.new_empty(len(data), *slot, step.weight.shape[0])
    window = (step.window.stride, step.window.padding, step.window.dilation)
    packed, ones = patches.pack_weight(step.weight), torch.ones(len(data), dtype=torch.uint8)
    tiles = [(), *((transformed_weight(step.weight, m), ones) for m in (2, 4))]
    given = (data, boxes, packed, *window, out_boxes, before, out)
    return interleaved([lambda t=own: patches.conv(*given, *t) for own in tiles], rounds)


def per_layer(name, scorer, regions, rounds):
    print(f"\n| {name}: cells, channels | direct, ms | m = 2 | m = 4 | patches by tiles |")
    print("| --- | ---: | ---: | ---: | --- |")
    for step, (data, boxes, out_boxes, before) in layers_of(scorer, regions).items():
        if tuple(step.window.kernel) != (3, 3, 3) or max(step.window.stride) > 1:
            continue
        outputs, channels = step.weight.shape[:2]
        seconds = layer_seconds(step, data, boxes, out_boxes, before, rounds)
        share = step.algorithms.by_tiles(boxes.numpy(), out_boxes.numpy()).mean()
        cells = " | ".join(f"{1e3 * s / len(data):.4f}" for s in seconds)
        size = "x".join(map(str, data.shape[1:4]))
        print(f"| {size}, {channels} to {outputs} | {cells} | {share:.0%} |", flush=True)
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="+", help="such as vggnet, resnet, vggnet-trained")
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", action="store_true")
    options = parser.parse_args()
    print(f"{processor()}, {patches.instruction_set()}, torch {torch.__version__}\n")
    print("| network | threads | direct, ms | toom2 | toom4 | auto | speed-up of auto |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in options.networks:
        scorer, regions = per_window(name, options.windows, options.rounds)
        if options.layers:
            per_layer(name, scorer, regions, 3 * options.rounds)


if __name__ == "__main__":
    main()
