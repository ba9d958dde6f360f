"""Deletion and insertion curves, one full forward after the other."""

import numpy as np
import torch


def curves(model, volume, heat, target, steps, ranked, fill=0.0):
    """Return the probabilities after each step of deletion and of insertion; volume ``[1, D, H, W]``."""
    strongest = sorted(np.flatnonzero(ranked), key=lambda i: (-abs(float(heat.ravel()[i])), i))
    found = {"deletion": [], "insertion": []}
    for step in range(steps + 1):
        # Group g of `steps` holds places g * N / steps up to the next, rounded up.
        upto = next(
            (p for p in range(len(strongest)) if p * steps // len(strongest) >= step), len(strongest)
        )
        for name, gone in (("deletion", strongest[:upto]), ("insertion", strongest[upto:])):
            copy = volume.clone().reshape(-1)
            copy[torch.as_tensor(gone, dtype=torch.long)] = fill
            with torch.no_grad():
                p = model.eval()(copy.reshape(1, *volume.shape)).double().softmax(1)[0, target]
            found[name].append(float(p))
    return np.array(found["deletion"]), np.array(found["insertion"])
