"""Draws the figures of ``docs/incremental.md``: what one filled window changes, layer by layer.

Nothing is sketched: the network runs on the MNI152 brain with and without the window, in float64, and every
picture shows where its activations differ. Rerun it with ``make figures``.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import pyadx

FOLDER = Path(__file__).resolve().parents[1] / "figures"
GRID = (110, 110, 110)
WINDOW = 7
AT = (55, 60, 50)  # the window's centre
SHOWN = ("scan", "conv1b", "conv2b", "conv3c", "pool3", "conv4b")
CUT = 2  # axis of the section


def brain():
    """Return the MNI152 brain at 2 mm on the network's grid."""
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=2).get_fdata(dtype=np.float32)
    volume = np.zeros(GRID, np.float32)
    volume[5:104, :, 7:102] = np.where(template < 1e-6, 0, template)[:, 3:113]
    return volume / volume.max()


def activations(model, volume):
    """Return the output of every layer of the features, by name."""
    found = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out[0].clone()))
        for name, layer in model.named_modules()
        if not list(layer.children())
    ]
    with torch.inference_mode():
        model(volume)
    for hook in hooks:
        hook.remove()
    return found


def box_of(difference):
    """Return the box around all cells that differ, ``[3, 2]``, half open."""
    cells = np.argwhere(difference.numpy() != 0)
    return np.stack([cells.min(0), cells.max(0) + 1], axis=1)


def layers(model):
    """Return name, activations, their change, and the box of the change, for the scan and each layer."""
    scan = torch.from_numpy(brain()).double()[None, None]
    filled = scan.clone()
    around = tuple(slice(c - WINDOW // 2, c + WINDOW // 2 + 1) for c in AT)
    filled[0, 0][around] = scan[0, 0][around].mean()
    before, after = activations(model, scan), activations(model, filled)
    before["scan"], after["scan"] = scan[0], filled[0]
    for name in ("scan", *(layer for layer in before if layer != "scan")):
        if before[name].dim() != 4:
            continue  # past the feature maps
        change = (after[name] - before[name]).abs().amax(0)
        if bool((change != 0).any()):
            yield name, before[name].abs().mean(0), change, box_of(change)


def draw_boxes(found, file):
    """Draw the section through the window at the scan and some layers, with the box of what changed."""
    shown = [row for row in found if row[0] in SHOWN]
    figure = Figure(figsize=(8, 6), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    for axes, (name, maps, change, box) in zip(figure.subplots(2, 3).flat, shown, strict=True):
        middle = int(box[CUT].mean())
        axes.imshow(maps.numpy().take(middle, CUT).T, cmap="gray", origin="lower")
        section = change.numpy().take(middle, CUT).T
        axes.imshow(np.ma.masked_equal(section, 0), cmap="autumn", origin="lower", alpha=0.9)
        (x0, x1), (y0, y1) = box[0], box[1]
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color="cyan", lw=1.5))
        size = "x".join(str(b - a) for a, b in box)
        share = np.prod([b - a for a, b in box]) / np.prod(change.shape)
        axes.set_title(f"{name}, {'x'.join(map(str, change.shape))}\n{size}: {share:.2%}", fontsize=9)
        axes.set_axis_off()
    figure.savefig(file, facecolor="white")


def draw_shares(found, file):
    """Draw which share of each layer's cells the window changes."""
    found = [row for row in found if not row[0].startswith("relu")]
    names = [row[0] for row in found]
    shares = [100 * np.prod([b - a for a, b in box]) / np.prod(change.shape) for _, _, change, box in found]
    figure = Figure(figsize=(9, 3), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.bar(names, shares, color="tab:orange")
    axes.set_yscale("log")
    axes.set_ylabel("cells inside the box, %")
    axes.tick_params(axis="x", rotation=60, labelsize=8)
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(file, facecolor="white")


def main():
    """Draw both figures."""
    FOLDER.mkdir(exist_ok=True)
    model = pyadx.models.build("vggnet", GRID, seed=0).double().eval()
    found = list(layers(model))
    draw_boxes(found, FOLDER / "growing-boxes.png")
    draw_shares(found, FOLDER / "box-shares.png")


if __name__ == "__main__":
    main()
