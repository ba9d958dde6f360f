"""How fast are walks through orders of regions on the moving baseline, compared with full forwards?

``python benchmarks/shapley_orders.py --out orders.jsonl`` walks through orders of the MNI152 brain's
segments: it fills them one after another, and then restores them. Full forwards, at their best batch size
and layout, take turns with the walks. Either way an order of K regions takes K evaluations.
``python benchmarks/shapley_orders.py --table orders.jsonl`` turns the lines into Markdown.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from brain import brain
from truth import machine

from pyadx import models
from pyadx.explainers.game import Game
from pyadx.explainers.players import Choice, players_of_tree
from pyadx.explainers.references import reference_volume
from pyadx.explainers.walks import walk
from pyadx.inference.engines import RegionScorer
from pyadx.models.demonstration import NETWORKS, demonstration_checkpoint
from pyadx.segmentation import ucm

CASES = (
    ("vggnet", 110, 100),
    ("vggnet", 110, 500),
    ("resnet-shallow-gap", 55, 100),
    ("resnet-shallow-gap", 55, 500),
)
ROUNDS = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("orders.jsonl"))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        print(table(options.table))
        return
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"machine": machine()}) + "\n")
        for case in CASES:
            line = measure(*case)
            print(json.dumps(line), flush=True)
            file.write(json.dumps(line) + "\n")
            file.flush()


def measure(architecture, side, count):
    """Measure one network with one number of regions; return a line of results."""
    known = architecture in NETWORKS
    model = (
        models.load(demonstration_checkpoint(architecture))
        if known
        else models.build(architecture, (side,) * 3, seed=0)
    ).eval()
    scan = torch.from_numpy(brain())[None]
    if side < scan.shape[1]:
        scan = torch.nn.functional.avg_pool3d(scan, scan.shape[1] // side)
    tree = ucm(scan[0], (scan[0] > 0).numpy(), max_regions=count)
    fill = reference_volume("local", scan, model, spacing=2.0 * (110 // side))
    scorer = RegionScorer("auto", model, scan, 1, fill=fill, score="log_odds", signed=True)
    players = players_of_tree(tree, Choice(count), None)
    game = Game(scorer, players)
    # Walks and full forwards take turns, so that other load affects both alike.
    layouts = (torch.contiguous_format, torch.channels_last_3d)
    ways = [(batch, layout) for batch in (1, 2, 4) for layout in layouts]
    whole = {way: [] for way in ways}
    steps, drifts = [], []
    for round_number in range(ROUNDS + 1):
        order = game.regions.inverse[players.order(np.random.default_rng(round_number))]
        order = order[order >= 0]
        started = time.perf_counter()
        game.reset()
        *_, drift = walk(scorer, game.regions, order, game.ends)
        seconds = (time.perf_counter() - started) / (2 * len(order))
        for way in ways:
            own = forward(model, scan, *way)
            if round_number:  # the first round warms up
                whole[way].append(own)
        if round_number:
            steps.append(seconds)
            drifts.append(drift / abs(game.ends.change))
    best = min(ways, key=lambda way: statistics.median(whole[way]))
    step, full = statistics.median(steps), statistics.median(whole[best])
    return {
        "network": architecture, "trained": known, "side": side, "regions": len(order), "rounds": ROUNDS,
        "step_ms": 1e3 * step, "full_ms": 1e3 * full, "ratio": full / step,
        "best_batch": best[0], "best_layout": str(best[1]).removeprefix("torch."), "drift": max(drifts),
        "incremental": int(scorer.incremental(game.regions.boxes).sum()),
    }  # fmt: skip


def forward(model, scan, batch, layout):
    """Return seconds per scan."""
    model.to(memory_format=layout)
    volume = scan[None].repeat(batch, 1, 1, 1, 1).to(memory_format=layout)
    with torch.no_grad():
        started = time.perf_counter()
        model(volume)
        seconds = (time.perf_counter() - started) / batch
    model.to(memory_format=torch.contiguous_format)
    return seconds


def table(path):
    """Return the results of one file as Markdown."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    out = []
    for line in lines:
        if "machine" in line:
            own = line["machine"]
            versions = ", ".join(f"{name} {number}" for name, number in own["versions"].items())
            out += [
                f"{own['processor']}, {own['threads']} threads; Python {own['python']}, {versions}.",
                "",
            ]
            out += [
                "| network | grid | regions | step of an order, ms | full forward at its best, ms | "
                "ratio | drift |",
                "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
            ]
            continue
        name = line["network"] + ("" if line["trained"] else ", random weights")
        best = f"{line['full_ms']:.1f} (batch {line['best_batch']}, {line['best_layout']})"
        out.append(
            f"| {name} | {line['side']}^3 | {line['regions']} | {line['step_ms']:.2f} | {best} | "
            f"{line['ratio']:.1f}x | {line['drift']:.1e} |"
        )
    return "\n".join(out)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    main()
