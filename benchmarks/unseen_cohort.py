"""How well do trained networks distinguish the groups of a cohort that they have never seen?

``python benchmarks/unseen_cohort.py COHORT CHECKPOINT...`` prints a table.
"""

import sys

import numpy as np
import torch

from pyadx import models
from pyadx.data.cohort import read_cohort
from pyadx.data.inputs import prepare_scans
from pyadx.inference.score import probabilities
from pyadx.models.training_scans import seen_in_training
from pyadx.training.metrics import classification_metrics


def main():
    cohort, checkpoints = sys.argv[1], sys.argv[2:]
    print("| network | grid | epochs | scans | AUC | accuracy |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for path in checkpoints:
        model = models.load(path)
        card = model.card
        scans = prepare_scans(read_cohort(cohort, card.class_names), card)
        seen = [seen_in_training(card, own).image for own in scans.hashes]
        assert seen == [False] * len(seen), (
            "the network was trained on this cohort, or its card does not say"
        )
        volumes = (torch.from_numpy(volume)[None, None] for volume in scans.volumes)
        with torch.inference_mode():
            found = [probabilities(model(volume)).numpy() for volume in volumes]
        metrics = classification_metrics(scans.labels, np.concatenate(found))
        grid = f"{'x'.join(map(str, card.in_shape))} at {card.preprocessing.spacing:g} mm"
        print(
            f"| {card.architecture} | {grid} | {card.provenance['epochs']} | {len(found)} | "
            f"{metrics['auc']:.3f} | {metrics['accuracy']:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
