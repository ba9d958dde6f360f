"""Train the networks that come with the package, for the demo and for first trials.

``python benchmarks/demonstration_networks.py train COHORT --arch vggnet --out RUN --cache CACHE`` continues
training from the checkpoint in the package, on a synthetic cohort, and calibrates on held-out subjects.
``python benchmarks/demonstration_networks.py store COHORT RUN... --cache C`` stores networks in the package
in float16, with their training record and the mean image of each class.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from pyadx import models
from pyadx.data.cohort import read_cohort
from pyadx.data.inputs import prepare_scans
from pyadx.inference.score import probabilities
from pyadx.models.demonstration import demonstration_checkpoint
from pyadx.models.training_scans import training_record
from pyadx.training.calibration import apply_calibration, fit_calibration
from pyadx.training.loop import train
from pyadx.training.metrics import classification_metrics
from pyadx.training.protocols import paper_protocol, with_changes
from pyadx.training.rounds import Hardware, give_references


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train")
    one.add_argument("cohort")
    one.add_argument("--arch", required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--stages", default="5e-5x6,1e-5x2", help="learning rate x epochs of every stage")
    one.add_argument(
        "--held-out", type=int, default=60, help="number of subjects to calibrate on, of both classes"
    )
    one.add_argument("--cache", type=Path, required=True, help="folder for prepared scans")
    one.set_defaults(run=train_network)
    two = commands.add_parser("store")
    two.add_argument("cohort")
    two.add_argument("folders", type=Path, nargs="+")
    two.add_argument("--cache", type=Path, required=True)
    two.set_defaults(run=store)
    options = parser.parse_args()
    options.run(options)


def scans_of(options, card):
    cohort = read_cohort(options.cohort, card.class_names)
    name = f"{card.architecture}-{card.in_shape[0]}"
    return prepare_scans(cohort, card, cache=options.cache / name)


def split(labels, held_out):
    """Return whom to train on and whom to hold out, which are the last subjects of each class."""
    shares = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    held = np.concatenate([own[len(own) - held_out * len(own) // len(labels) :] for own in shares])
    return np.setdiff1d(np.arange(len(labels)), held), np.sort(held)


def train_network(options):
    start = demonstration_checkpoint(options.arch)
    model = models.load(start)
    scans = scans_of(options, model.card)
    train_on, held = split(scans.labels, options.held_out)
    seconds, done = 0.0, []
    for stage, text in enumerate(options.stages.split(",")):
        rate, epochs = text.split("x")
        changes = {"learning_rate": float(rate), "epochs": int(epochs), "flip": True}
        protocol = with_changes(paper_protocol(options.arch), changes)
        folder = options.out / f"stage{stage}"
        folder.mkdir(parents=True, exist_ok=True)
        fabric = Hardware(accelerator="cpu").fabric()
        found = train(
            model, scans, train_on, held, protocol, fabric=fabric, seed=stage, folder=folder,
            facts={"architecture": options.arch}, on_epoch=lambda epochs: print(epochs[-1], flush=True),
        )  # fmt: skip
        seconds += sum(epoch.seconds for epoch in found.epochs)
        done.append({"learning_rate": float(rate), "epochs": int(epochs)})
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(torch.from_numpy(scans.volumes[i].copy())[None, None]) for i in held])
    before = classification_metrics(scans.labels[held], probabilities(logits.double()).numpy())
    calibration = fit_calibration(logits.numpy(), scans.labels[held])
    apply_calibration(model, calibration, torch.from_numpy(scans.volumes[held[0]].copy())[None, None])
    print(f"held out: {before}\n{calibration}\n{seconds:.0f} s")
    used = [scans.scans[i] for i in train_on]
    record = training_record(
        [scan.subject for scan in used],
        [scan.scan_id for scan in used],
        [scans.hashes[i] for i in train_on],
        earlier=model.card.provenance,
    )
    earlier = model.card.provenance
    provenance = {
        "started_from": {
            name: earlier[name] for name in ("protocol", "epochs", "cohort") if name in earlier
        },
        "stages": done,
        "epochs": sum(stage["epochs"] for stage in done),
        "flip": True,
        "held_out": {"subjects": len(held), **before},
        "calibration": calibration.facts(),
        "seconds": round(seconds),
        **record,
    }
    models.save(model, options.out / "model.safetensors", trained=True, provenance=provenance)
    (options.out / "trained_on.json").write_text(json.dumps([scan.subject for scan in used]))


def store(options):
    for folder in options.folders:
        model = models.load(folder / "model.safetensors")
        target = demonstration_checkpoint(model.card.architecture)
        recipe = json.loads((Path(options.cohort) / "dataset_description.json").read_text())["GeneratedBy"][
            0
        ]
        scans = scans_of(options, model.card)
        used = set(json.loads((folder / "trained_on.json").read_text()))
        which = np.array([i for i, scan in enumerate(scans.scans) if scan.subject in used])
        give_references(model, scans, which, model.card)
        note = {"cohort": f"synthetic: pyadx phantom {recipe['Recipe']}", "stored": "float16"}
        models.save(
            model, target, dtype=torch.float16, trained=True, provenance={**model.card.provenance, **note}
        )
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
