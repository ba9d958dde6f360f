"""A small scan with heatmaps and labels, as files."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 2, 0, -50], [0, 0, 2, -30], [0, 0, 0, 1]])  # LAS


def save_case(folder, shape=(32, 36, 28), methods=("gradcam", "occlusion")):
    """Write scan.nii.gz, labels.nii.gz and one heatmap with sidecar per method; return the paths."""
    random = np.random.default_rng(0)
    grid = np.indices(shape)
    centre = (np.array(shape) / 2).reshape(3, 1, 1, 1)
    radius = np.sqrt((((grid - centre) / centre) ** 2).sum(0))
    scan = np.where(radius < 0.9, 600 + 100 * random.random(shape), 0).astype(np.float32)
    labels = np.zeros(shape, np.int16)
    labels[(radius >= 0.7) & (radius < 0.9)] = 3
    labels[radius < 0.25] = 4
    labels[(radius > 0.3) & (radius < 0.6) & (grid[0] < shape[0] // 2)] = 17
    paths = {}

    def save(name, data):
        paths[name] = folder / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(data, AFFINE), paths[name])

    save("scan", scan)
    save("labels", labels)
    for i, method in enumerate(methods):
        # Graded, so that thresholds and colours show.
        strength = (0.5 + i) * (0.2 + 0.8 * grid[1] / shape[1])
        heat = (np.roll(labels, i) == 17) * strength + 0.01 * random.random(shape)
        save(method, heat.astype(np.float32))
        facts = {
            "method": method,
            "parameters": {"layer": "conv2b"} if method == "gradcam" else {"window": 7},
            "prediction": {"NC": 0.25, "AD": 0.75},
            "target": {"index": 1, "name": "AD"},
            "model": {"architecture": "vggnet", "trained": True},
            "seconds": {"explain": 1.5},
        }
        (folder / f"{method}.json").write_text(json.dumps(facts))
    return paths


def keep_figures(monkeypatch):
    """Return a list of all figures saved from now on, with their formats; files hold next to nothing."""
    from matplotlib.figure import Figure

    kept = []

    def keep(figure, path, **options):
        kept.append((figure, options["format"]))
        Path(path).write_bytes(b"drawn")

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept
