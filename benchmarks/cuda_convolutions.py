"""Is our tensor-core convolution of patches faster than the vendor's library on a GPU?

Both run as in the engine, from a batch of changes to the changes after the ReLU: ours in two launches, the
library between `patch_gather` and `patch_relu`. Layers are those of bench_patch_conv.py. The result goes to
FOLDER/cuda-convolutions.md. Until a GPU has written one, the library is the default.

    python benchmarks/cuda_convolutions.py [--out FOLDER] [--cpu]

``--cpu`` runs everything on the CPU, where "own" is the CPU's kernel, to test the script.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_patch_conv import LAYERS

from pyadx.inference.incremental import boxes as bx
from pyadx.ops import patches

ONE, BATCH, ROUNDS = (1, 1, 1), 256, 30


def layer(cells, channels, outputs, batch, device):
    """Return a call of ours, and one of the library, for one layer."""
    generator = torch.Generator().manual_seed(0)
    size = cells + 2
    out_boxes = torch.tensor([[0, 0, 0, size, size, size]], dtype=torch.int32).repeat(batch, 1)
    boxes = out_boxes + torch.tensor([1, 1, 1, -1, -1, -1], dtype=torch.int32)
    frames = torch.from_numpy(bx.input_frames(out_boxes.numpy(), bx.Window((3, 3, 3), ONE, ONE, ONE)))
    work = torch.from_numpy(patches.conv_work(out_boxes.numpy())).to(device)
    changes = torch.randn(batch, cells, cells, cells, channels, generator=generator).to(device)
    weight = torch.randn(outputs, channels, 3, 3, 3, generator=generator) / (27 * channels) ** 0.5
    before = torch.randn(size, size, size, outputs, generator=generator).to(device)
    on_gpu = device.type == "cuda"
    packed = (patches.pack_cuda_weight if on_gpu else patches.pack_weight)(weight).to(device)
    last = weight.to(device, memory_format=torch.channels_last_3d)
    boxes, out_boxes, frames = boxes.to(device), out_boxes.to(device), frames.to(device)
    halo = torch.empty(batch, size + 2, size + 2, size + 2, channels, device=device)
    out = torch.empty(batch, size, size, size, outputs, device=device)

    def own():
        given = (changes, boxes, packed, ONE, ONE, ONE, out_boxes, before, out)
        return patches.conv(*given, work=work if on_gpu else None)

    def vendor():
        patches.gather(frames, halo, patches=changes, boxes=boxes)
        result = F.conv3d(halo.permute(0, 4, 1, 2, 3), last).permute(0, 2, 3, 4, 1).contiguous()
        return patches.relu(result, out_boxes, before, None, out)

    return own, vendor


def medians(calls, rounds, device):
    """Return median seconds; calls take turns, so that clock rates and other load affect both alike."""
    seconds = [[] for _ in calls]
    for turn in range(rounds + 3):
        for call, taken in zip(calls, seconds, strict=True):
            begin = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= 3:
                taken.append(time.perf_counter() - begin)
    return [sorted(taken)[len(taken) // 2] for taken in seconds]


def table(device, batch, rounds):
    """Return the lines of a Markdown table, and the speed-up of ours for every layer."""
    lines = ["| layer: cells, channels | own, ms | vendor, ms | speed-up of own | difference |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    ratios = []
    for name, (cells, channels, outputs) in LAYERS.items():
        own, vendor = layer(cells, channels, outputs, batch, device)
        expected = vendor().clone()
        difference = ((own() - expected).abs().max() / expected.abs().max()).item()
        mine, theirs = medians((own, vendor), rounds, device)
        ratios.append(theirs / mine)
        times = f"{1e3 * mine:.3f} | {1e3 * theirs:.3f} | {ratios[-1]:.2f}"
        lines.append(f"| {name}: {cells}^3, {channels} to {outputs} | {times} | {difference:.1e} |")
    return lines, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    device = torch.device("cpu" if options.cpu else "cuda")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        lines, ratios = table(device, 2 if options.cpu else BATCH, 1 if options.cpu else ROUNDS)
    where = "the CPU: no verdict" if options.cpu else torch.cuda.get_device_name()
    faster = sum(ratio > 1 for ratio in ratios)
    verdict = f"Own is faster in {faster} of {len(ratios)} layers"
    verdict += " (make it the default)." if min(ratios) > 1 else " (the library stays the default)."
    head = ["# Our patch convolution against the vendor's", "", f"On {where}, float32 without TF32.", ""]
    text = "\n".join([*head, *lines, "", *([] if options.cpu else [verdict])]).rstrip() + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    name = "cuda-convolutions-dry.md" if options.cpu else "cuda-convolutions.md"
    (options.out / name).write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
