"""SA-3DUCM as the paper writes it: a loop over levels and segments."""

import numpy as np
import torch


def sa_3ducm(model, scan, target, label_volumes, fill=0.0, signed=False, logit=False):
    """``scan`` [C, D, H, W]; one label volume per level, 0 outside; returns float64 [D, H, W]."""

    def score(volume):
        with torch.no_grad():
            outputs = model(volume[None])[0]
        return float(outputs[target] if logit else outputs.softmax(0)[target])

    reference = score(scan)
    heat = np.zeros(scan.shape[1:])
    for labels in label_volumes:
        for label in range(1, labels.max() + 1):
            segment = labels == label
            filled = scan.clone()
            filled[:, torch.from_numpy(segment)] = fill
            change = reference - score(filled)
            heat[segment] += change if signed else abs(change)
    return heat / len(label_volumes)
