"""The figures of one map on one subject, for truth.py."""

import numpy as np
import torch
from scipy import ndimage

from pyadx.evaluation import (
    deletion_insertion,
    localization,
    precision_recall,
    smoothed_mass,
    truth_agreement,
)


def patient_figures(heat, case, truth, centres, window, spacing):
    """Return all figures of one map of a patient, except those that need the network."""
    inside = case.inside
    at = inside & centres
    found = truth_agreement(heat, truth, at)
    summed = ndimage.uniform_filter(heat.astype(np.float64), window, mode="constant")
    over_windows = truth_agreement(summed, truth, at)
    figures = {
        "rank": found.rank,
        "rank_signed": found.rank_signed,
        "truth_ap": found.average_precision,
        "truth_prevalence": found.prevalence,
        "rank_windows": over_windows.rank,
        "truth_ap_windows": over_windows.average_precision,
    }
    planted = {name: mask[inside] for name, mask in case.planted.items()}
    for suffix, strength in (("", np.abs(heat[inside])), ("_positive", heat[inside].clip(0))):
        for name, curve in precision_recall(strength, planted).items():
            key = name.replace(" ", "_")
            figures[f"{key}{suffix}"] = curve.average_precision
            figures[f"{key}_prevalence"] = curve.prevalence
    for name, mask in case.planted.items():
        figures[f"mass_{name.replace(' ', '_')}"] = smoothed_mass(heat, mask, spacing, inside)
    return figures | anatomy_figures(heat, case)


def anatomy_figures(heat, case):
    """Return the figures of any map: average precision and share of every region, and strength."""
    figures = {"strength": float(np.abs(heat[case.inside]).mean(dtype=np.float64))}
    for name, score in localization(heat, case.regions, case.inside).items():
        figures[f"{name}_ap"] = score.average_precision
        figures[f"{name}_prevalence"] = score.prevalence
        share = score.relevance_mass
        figures[f"{name}_share"] = 0.0 if np.isnan(share) else share
    return figures


def gains(model, heat, case, target, fills, steps, score):
    """Symmetric relevance gain for every fill; voxels are ranked by value, the most negative last."""
    ranked = np.where(case.inside, heat - heat[case.inside].min(), 0)
    known = {"zero": 0.0, "twin": case.twin}
    found = {}
    for name in fills:
        fill = known[name]
        if isinstance(fill, torch.Tensor):
            fill = fill[0]
        curves = deletion_insertion(
            model, case.volume, ranked, target, inside=case.inside, steps=steps, fill=fill, score=score
        )
        found[f"srg_{name}"] = curves.srg
    return found
