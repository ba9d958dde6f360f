"""Draws the picture of every method's page: the same **synthetic** patient, the bundled networks.

``python docs/scripts/method_pictures.py`` draws all of them in some minutes, or those of the
pages that are named.
"""

import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

import pyadx
from pyadx.data import scale_intensity
from pyadx.data.phantom import cohort_grid, draw_people, make_scan
from pyadx.models.demonstration import demonstration_checkpoint
from pyadx.report import save_panels

FOLDER = Path(__file__).resolve().parents[1] / "figures"
WIDTH = 900
# Page to the methods that are drawn on it. Occlusion takes every sixth voxel, to be done in a minute.
PAGES = {
    "occlusion": ("occlusion:stride=6",),
    "sa3ducm": ("sa3ducm",),
    "shapley": ("shapley:fill=controls:0.5,pairs=8",),
    "flip": ("flip:fill=controls",),
    "cam": ("cam",),
    "gradcam": ("gradcam:layer=conv2b",),
    "cam-family": tuple(
        f"{name}:layer=relu2b" for name in ("gradcampp", "xgradcam", "layercam", "hirescam")
    ),
    "gradients": (
        "smoothgrad:baseline=local,smoothing=4",
        "inputxgradient:smoothing=4",
        "integratedgradients:steps=12,smoothing=4",
        "deeplift:smoothing=4",
    ),
}
REGIONS = ("shapley", "flip")  # of the patient's atlas


def patient():
    """Return the most severely ill subject of a cohort that no network has seen."""
    return make_scan(max(draw_people(103, seed=2), key=lambda person: person.severity), cohort_grid())


def maps(scan, methods):
    """Return the heatmap of each method for AD, and what its signs speak for."""
    model = pyadx.models.load(demonstration_checkpoint("vggnet")).eval()
    volume = torch.from_numpy(scale_intensity(scan.t1, "max"))[None, None]
    heatmaps, facts = {}, {}
    for spelling in methods:
        name = spelling.partition(":")[0]
        if name == "cam":
            heatmaps[spelling] = small_cam(scan)
            continue
        explain = pyadx.explainer(spelling, model, spacing=2.0)
        found = explain.run(volume, "AD", *([scan.labels] if name in REGIONS else []))
        heatmaps[spelling] = found.heatmap[0].numpy()
        facts[spelling] = {
            "method": name, "parameters": dict(found.options), "target": {"index": 1, "name": "AD"},
            "prediction": dict(zip(model.card.class_names, found.prediction[0].tolist(), strict=True)),
        }  # fmt: skip
    return heatmaps, facts


def small_cam(scan):
    """Return CAM of the bundled network that pools globally, on the scan's voxels."""
    model = pyadx.models.load(demonstration_checkpoint("resnet-shallow-gap")).eval()
    volume = torch.from_numpy(scale_intensity(scan.t1, "max"))[None, None]
    small = torch.nn.functional.interpolate(volume, model.card.in_shape, mode="trilinear")
    heat = pyadx.CAM(model)(small, target="AD")
    return torch.nn.functional.interpolate(heat[None], scan.t1.shape, mode="trilinear")[0, 0].numpy()


def draw(page, scan):
    """Draw the picture of a page, and keep it small."""
    heatmaps, facts = maps(scan, PAGES[page])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "panels.png"
        save_panels(file, scan.t1, heatmaps, "SYNTHETIC patient", (2.0, 2.0, 2.0), facts=facts)
        picture = Image.open(file).convert("RGB")
    height = round(picture.height * WIDTH / picture.width)
    small = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    # Few colours make a small file; this way of choosing them keeps those that are rare, such as blue.
    small.quantize(256, Image.Quantize.MAXCOVERAGE).save(FOLDER / f"{page}.png", optimize=True)


def main(pages):
    """Draw the pictures of these pages, or of all."""
    FOLDER.mkdir(exist_ok=True)
    scan = patient()
    for page in pages or PAGES:
        draw(page, scan)
        print(page, (FOLDER / f"{page}.png").stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
