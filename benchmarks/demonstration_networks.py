"""Put trained networks into the package, for the demo.

``python benchmarks/demonstration_networks.py RUN...`` takes the checkpoint of each run and stores it in
float16, with its training record, as ``pyadx/models/demonstration/<architecture>.safetensors``.
"""

import sys
from pathlib import Path

import torch

from pyadx import models
from pyadx.models.demonstration import demonstration_checkpoint


def main():
    for folder in sys.argv[1:]:
        model = models.load(Path(folder) / "model.safetensors")
        target = demonstration_checkpoint(model.card.architecture)
        note = {"cohort": "synthetic: pyadx phantom --subjects 103 --seed 0", "stored": "float16"}
        models.save(
            model, target, dtype=torch.float16, trained=True, provenance={**model.card.provenance, **note}
        )
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
