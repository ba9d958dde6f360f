"""How many shapes does a GPU's library see in a whole map, with exact slots and with canonical ones?

``python benchmarks/slot_shapes.py --network vggnet --side 110`` goes through a map of windows as scoring on
a GPU does; with ``--regions 3000``, through boxes of all sizes at random places. It counts the shapes of
each convolution's batches, and the operations for their slots. It does not compute them.
"""

import argparse
import os
from unittest import mock

import numpy as np
import torch

from pyadx import models
from pyadx.inference import IncrementalScorer
from pyadx.inference.incremental import memory
from pyadx.inference.incremental.operations.convolution import Convolution
from pyadx.inference.incremental.plan import Scores
from pyadx.inference.incremental.program import Program


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="vggnet")
    parser.add_argument("--side", type=int, default=110)
    parser.add_argument("--window", type=int, default=7)
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--regions", type=int, default=0, help="instead, this many boxes of all sizes")
    options = parser.parse_args()
    model = models.build(options.network, (options.side,) * 3, seed=0).eval()
    scan = torch.rand(1, *(options.side,) * 3, generator=torch.Generator().manual_seed(0))
    print("| slots | regions | batches | most shapes of a layer | shapes of all layers | GFLOP |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for slots in ("exact", "canonical"):
        budget = {"cpu": memory._BATCH_BYTES["cuda"]}
        with (
            mock.patch.dict(os.environ, PYADX_SLOTS=slots),
            mock.patch.object(memory, "_BATCH_BYTES", budget),
        ):
            scorer = IncrementalScorer(model, scan, 1)
        regions = regions_of(scorer, options)
        batches, shapes, flops = walked(scorer, regions)
        sizes = [len(own) for own in shapes.values()]
        row = (slots, f"{len(regions.boxes):,}", f"{batches:,}", max(sizes), f"{sum(sizes):,}")
        print("| " + " | ".join(map(str, row)) + f" | {1e-9 * flops:,.0f} |")


def regions_of(scorer, options):
    """Return windows of a grid, or boxes of all sizes."""
    if not options.regions:
        starts = torch.arange(0, options.side, options.stride) - options.window // 2
        low = torch.cartesian_prod(starts, starts, starts)
        return scorer.regions(torch.cat([low, low + options.window], 1))
    generator = np.random.default_rng(0)
    sides = np.exp(generator.uniform(np.log(3), np.log(options.side), (options.regions, 1)))
    sides = (sides * generator.uniform(0.6, 1.4, (options.regions, 3))).clip(1, options.side)
    low = generator.uniform(0, options.side - sides)
    boxes = np.concatenate([low, low + sides], 1).astype(np.int64)
    return scorer.regions(torch.from_numpy(boxes))


def walked(scorer, regions):
    """Return the number of batches of a map, the shapes of every convolution, and all operations (FLOP)."""
    shapes, count, flops = {}, 0, 0.0

    def shown(program, plan, grown, start, stop, segments, room=None):
        nonlocal count, flops
        count += 1
        batch = program._batch(plan, grown, slice(start, stop), segments, room)
        for step in plan.steps:
            if isinstance(step, Convolution):
                slot = batch.slots[step.output]
                shapes.setdefault(step.output, set()).add((batch.size, slot))
                flops += 2.0 * batch.size * np.prod(slot) * step.weight.numel()
        outputs = torch.zeros(batch.size, scorer._outputs.shape[1])
        return Scores(outputs, True, torch.zeros(batch.size, dtype=torch.bool))

    with mock.patch.object(Program, "_run", shown):
        scorer.score_regions(regions)
    return count, shapes, flops


if __name__ == "__main__":
    main()
