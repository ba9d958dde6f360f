"""Do Shapley values match the effect of the disease on regions? A comparison with the healthy twin.

``python benchmarks/share_truth.py COHORT CHECKPOINT --patients 20 --out shares.jsonl`` takes cortex,
ventricles, hippocampus (each dilated by two voxels) and everything else as players. It computes exact
Shapley values with every reference, and with the patient's own healthy twin, which show what the disease
does to this network. A second call goes on where the first one stopped. ``--table shares.jsonl...`` turns
the lines into Markdown.

The error of a patient is the mean of |value - value with the twin| over the three planted players, as a
share of the whole change with the twin.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from truth import append, chosen, machine
from truth_table import read_lines

from pyadx import RegionShapley, models
from pyadx.data.cohort import read_cohort
from pyadx.data.inputs import voxel_hash
from pyadx.data.phantom.cases import read_case
from pyadx.evaluation import bootstrap_mean
from pyadx.inference.score import class_index
from pyadx.models.training_scans import seen_in_training

FILLS = "local local:4 local:12 local:16 local:24 mean region-mean harmonic controls zero"
PLANTED = ("ventricle", "hippocampus", "cortex")  # where dilated regions overlap, the first one counts
DILATION = 2  # voxels


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", nargs="?")
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--fills", default=FILLS, help="references, separated by spaces")
    parser.add_argument("--target", default="AD")
    parser.add_argument("--out", type=Path, default=Path("shares.jsonl"))
    parser.add_argument("--table", nargs="+", type=Path)
    options = parser.parse_args()
    if options.table:
        print("\n".join(table(path) for path in options.table))
        return
    if options.checkpoint is None:
        parser.error("give a cohort and a checkpoint, or --table FILE")
    options.healthy = 0
    model = models.load(Path(options.checkpoint)).eval()
    names = model.card.class_names
    target = class_index(options.target, len(names), names)
    settings = {
        "cohort": Path(options.cohort).name,
        "architecture": model.card.architecture,
        "weights_sha256": models.fingerprint(model),
    }
    lines = read_lines(options.out) if options.out.exists() else []
    done = {(line["subject"], line["fill"]) for line in lines if "fill" in line}
    append(options.out, {"settings": settings, "machine": machine()})
    for record in chosen(read_cohort(options.cohort, names).scans, options):
        wanted = [f for f in ["twin", *options.fills.split()] if (record.subject, f) not in done]
        if wanted:
            case = read_case(record, Path(options.cohort), model.card)
            if seen_in_training(model.card, voxel_hash(case.fitted.scan), record.subject).image:
                raise SystemExit(f"{record.subject} was among the scans that the network was trained on")
            for fill in wanted:
                append(options.out, one(model, case, target, fill))


def one(model, case, target, fill):
    """Explain one patient with one reference; return a line of results."""
    started = time.monotonic()
    explain = RegionShapley(
        model,
        fill=case.twin[0] if fill == "twin" else fill,
        interactions=0,
        spacing=model.card.preprocessing.spacing,
    )
    labels, names = players(case)
    report = explain.run(case.volume, target, labels, names=names).reports[0]
    if not report.exact:
        raise SystemExit("the values of four players should be exact, but are not")
    line = {"subject": case.record.subject, "fill": fill, "change": report.change}
    line |= {
        kind: dict(zip(report.names, getattr(report, kind).tolist(), strict=True))
        for kind in ("values", "alone")
    }
    line["seconds"] = round(time.monotonic() - started, 2)
    print(json.dumps(line), flush=True)
    return line


def players(case):
    """Return a label volume of the three planted regions and the rest, and their names."""
    labels = np.full(case.inside.shape, len(PLANTED) + 1, np.int32)
    for number in range(len(PLANTED), 0, -1):
        own = case.regions[PLANTED[number - 1]]
        labels[ndimage.binary_dilation(own, iterations=DILATION)] = number
    return labels, {**dict(enumerate(PLANTED, 1)), len(PLANTED) + 1: "rest"}


def table(path):
    """Return the results of one file as Markdown."""
    lines = read_lines(path)
    settings = next(line["settings"] for line in lines if "settings" in line)
    own = {}
    for line in lines:
        if "fill" in line:
            own.setdefault(line["fill"], {})[line["subject"]] = line
    twins = own.pop("twin")
    out = [f"### {settings['architecture']}, {len(twins)} patients", ""]
    out += [
        "| reference | error, Shapley values | error, one at a time | change | sum one at a time | "
        + " | ".join(f"{name}: value" for name in (*PLANTED, "rest"))
        + " | s |",
        "| --- |" + " ---: |" * 9,
    ]
    for fill, found in [("twin", twins), *own.items()]:
        common = [(found[subject], twins[subject]) for subject in twins if subject in found]
        cells = [share_of_error(common, kind) for kind in ("values", "alone")]
        cells.append(f"{np.mean([line['change'] for line, _ in common]):.2f}")
        cells.append(f"{np.mean([sum(line['alone'].values()) for line, _ in common]):.2f}")
        cells += [
            f"{np.mean([line['values'][name] for line, _ in common]):.2f}" for name in (*PLANTED, "rest")
        ]
        cells.append(f"{np.median([line['seconds'] for line, _ in common]):.1f}")
        out.append(f"| {fill} | " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def share_of_error(pairs, kind):
    """Return the mean error over patients and its 95% bootstrap interval."""
    errors = np.array(
        [
            np.mean([abs(line[kind][name] - twin["values"][name]) for name in PLANTED])
            / abs(twin["change"])
            for line, twin in pairs
        ]
    )
    low, high = bootstrap_mean(errors)
    return f"{errors.mean():.1%} [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    main()
