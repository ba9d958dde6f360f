"""For which networks is occlusion exact on boxes, and how much faster is it?

``python benchmarks/networks_table.py OUT.jsonl`` measures. A second call goes on where the first one
stopped. ``--table`` prints Markdown.

Every network has random weights. It is traced, and compared with full forwards in float64 (largest
relative difference of the score's change over 6 boxes). Windows of 7 voxels are timed in float32, with the
engine that ``auto`` chooses, against full forwards at the best batch size of 1, 2 and 4.
"""

import argparse
import gc
import json
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from networks_of_others import networks

from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.engines import RegionScorer
from pyadx.inference.errors import UntraceableError

_WINDOW = 7


def boxes_of(side, count, seed=0):
    low = np.random.default_rng(seed).integers(0, side - _WINDOW + 1, (count, 3))
    return torch.from_numpy(np.concatenate([low, low + _WINDOW], 1).astype(np.int32))


def measured(make, side):
    torch.manual_seed(0)
    model = make().eval()
    scan = torch.rand(1, side, side, side)
    with torch.no_grad():
        output = model(scan[None])
    options = {"output": 0} if isinstance(output, tuple) else {}
    line = {"outputs": len(output[0][0] if options else output[0])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            line |= compared(model, scan, side, options)
        except UntraceableError as error:
            return line | {"traced": False, "why": str(error)}
        line |= timed(model, scan, side, options)
    return line


def compared(model, scan, side, options):
    boxes = boxes_of(side, 6)
    double = model.double()
    slow = FullScorer(double, scan.double(), 0, score="logit", **options)
    fast = IncrementalScorer(double, scan.double(), 0, score="logit", **options)
    a, b = slow.score(boxes), fast.score(boxes)
    model.float()
    return {"traced": True, "difference": float((a - b).abs().max() / a.abs().max())}


def timed(model, scan, side, options):
    regions = boxes_of(side, 24, 1)
    auto = RegionScorer("auto", model, scan, 0, score="logit", **options)
    fast = IncrementalScorer(model, scan, 0, score="logit", **options)
    end = fast.ending()
    seconds = per_region(auto, regions)
    slow, best = FullScorer(model, scan, 0, score="logit", **options), np.inf
    for batch in (1, 2, 4):
        slow.batch_size = batch
        best = min(best, per_region(slow, regions[:4]))
    return {
        "predicted": float(np.median(fast.gains(regions.numpy()))),
        "measured": best / seconds,
        "engine": auto.engine_name(regions.numpy()),
        "ends": end.words if end is not None and end.share > 0.05 else "",
    }


def per_region(scorer, boxes):
    regions = scorer.regions(boxes)
    spent = []
    for _ in range(3):  # the first one warms up
        started = time.perf_counter()
        scorer.score_regions(regions)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent[1:])) / len(regions.boxes)


def table(path):
    head, *lines = (json.loads(text) for text in path.read_text().splitlines())
    exact = sum(line.get("difference", 1) <= 1e-8 for line in lines)
    made = f"{head['processor']}, {head['threads']} thread(s), torch {head['torch']}"
    told = f"{exact} traced and exact to 1e-8 in float64"
    print(f"{len(lines)} networks with random weights at {head['side']}^3, {told}. {made}.\n")
    print("| network | difference, float64 | predicted | measured | engine | what ends boxes |")
    print("| --- | ---: | ---: | ---: | --- | --- |")
    for line in lines:
        if not line["traced"]:
            print(f"| {line['network']} | - | - | - | full | {line['why']} |")
            continue
        ends = line["ends"].split(" on (")[0].rsplit("from ", 1)[-1] if line["ends"] else "nothing"
        print(
            f"| {line['network']} | {line['difference']:.0e} | {line['predicted']:.1f} | "
            f"{line['measured']:.1f} | {line['engine']} | {ends} |"
        )


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        return table(options.out)
    if not options.out.exists():
        head = {
            "side": options.side,
            "threads": torch.get_num_threads(),
            "processor": processor(),
            "torch": torch.__version__,
        }
        options.out.write_text(json.dumps(head) + "\n")
    done = {json.loads(text).get("network") for text in options.out.read_text().splitlines()}
    for name, make in networks(options.side).items():
        if name in done:
            continue
        line = {"network": name, **measured(make, options.side)}
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(name, line)
        gc.collect()


if __name__ == "__main__":
    main()
