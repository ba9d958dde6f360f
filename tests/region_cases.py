"""Heatmaps of regions with their sidecars, as files."""

import json

import nibabel as nib
import numpy as np
from report_support import AFFINE, save_case


def shapley_facts(labels, values, /, **more):
    """A sidecar as `pyadx explain --method shapley` writes it."""
    report = {
        "evaluations": 10,
        "evaluated": 10,
        "approximate": False,
        "labels": list(labels),
        "names": [f"region {label}" for label in labels],
        "values": list(values),
        "errors": [abs(value) / 10 for value in values],
        "alone": [1.5 * value for value in values],
        "first": [0.5 * value for value in values],
        "voxels": [7] * len(values),
        "score": 2.0 + sum(values),
        "reference_score": 2.0,
        "change": sum(values),
        "gap": 0.0,
        "pairs": 8,
        "order": "flat",
        **more,
    }
    return {
        "method": "shapley",
        "parameters": {"signed": True, "score": "log_odds"},
        "prediction": {"NC": 0.25, "AD": 0.75},
        "target": {"index": 1, "name": "AD"},
        "report": report,
    }


def save_regions(folder, **more):
    """Write a case and shapley.nii.gz: 0.9, -1.3 and 0.4 in regions 3, 4 and 17. Return the paths."""
    paths = save_case(folder, methods=("gradcam",))
    labels = np.asarray(nib.load(paths["labels"]).dataobj)
    heat = np.zeros(labels.shape, np.float32)
    numbers, values = (3, 4, 17), (0.9, -1.3, 0.4)
    for number, value in zip(numbers, values, strict=True):
        heat[labels == number] = value
    paths["shapley"] = folder / "shapley.nii.gz"
    nib.save(nib.Nifti1Image(heat, AFFINE), paths["shapley"])
    sizes = [int((labels == number).sum()) for number in numbers]
    facts = shapley_facts(numbers, values, **{"voxels": sizes, **more})
    (folder / "shapley.json").write_text(json.dumps(facts))
    return paths
