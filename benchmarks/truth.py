"""Which maps find what moves the network? Every method against causal ground truth.

``python benchmarks/truth.py COHORT CHECKPOINT --patients 20 --healthy 10 --out results.jsonl`` explains
subjects of a synthetic cohort (a folder of ``pyadx phantom`` that the network has not seen) and adds a line
to ``results.jsonl`` for every subject and method. A second call goes on where the first one stopped.
``python benchmarks/truth.py --table results.jsonl...`` turns the lines into Markdown.

Truth: T(v) = s(scan) - s(scan with the window at v from the patient's healthy twin), s: log-odds of the
class. Maps are compared with T at the centres of its windows inside the brain, where T is exact; everything
else is measured on all voxels of the brain. Occlusion uses T's window and stride unless a method's spelling
has its own.
"""

import argparse
import json
import os
import platform
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from truth_figures import anatomy_figures, gains, patient_figures
from truth_peers import Call, peers
from truth_table import markdown, read_lines

import pyadx
from pyadx import models
from pyadx.data.cohort import read_cohort
from pyadx.data.inputs import voxel_hash
from pyadx.data.phantom.cases import read_case, truth_window
from pyadx.evaluation import causal_truth, edge_map, random_map, region_truth
from pyadx.explainers import parse_method
from pyadx.explainers.windows import WindowGrid
from pyadx.inference.score import class_index
from pyadx.models.training_scans import seen_in_training

_PACKAGES = ("pyadx", "torch", "numpy", "scipy", "captum", "monai", "scikit-learn")
_METHODS = (
    "occlusion:signed,score=log_odds,fill=local occlusion:paper sa3ducm:signed,score=log_odds,fill=local "
    "sa3ducm:paper"
)
_RANDOM, _EDGES = "random map", "edge map"
_SEED = 0


def main():
    options = arguments()
    if options.table:
        print(markdown([read_lines(path) for path in options.table]))
        return
    checkpoint = Path(options.checkpoint)
    model = models.load(checkpoint).eval()
    target = class_index(options.target, len(model.card.class_names), model.card.class_names)
    cohort = read_cohort(options.cohort, model.card.class_names)
    records = chosen(cohort.scans, options)
    first = read_case(records[0], Path(options.cohort), model.card)
    window, stride = truth_window(first.fitted)
    settings = {
        "cohort": Path(options.cohort).name,
        "checkpoint": checkpoint.name,
        "weights_sha256": models.fingerprint(model),
        "architecture": model.card.architecture,
        "score": options.score,
        "window": options.window or window,
        "stride": options.stride or stride,
        "srg": options.srg,
        "srg_steps": options.srg_steps,
        "seed": _SEED,
    }
    done = begin(options.out, settings)
    rows = named_methods(options, model, settings)
    for record in records:
        left = [name for name in rows if (record.subject, name) not in done]
        if left:
            explain_subject(record, left, rows, model, target, settings, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cohort", nargs="?")
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--healthy", type=int, default=10)
    parser.add_argument("--methods", default=_METHODS, help="spellings, separated by spaces")
    parser.add_argument("--peers", default="all", help="all, none, or names separated by commas")
    parser.add_argument("--target", default="AD")
    parser.add_argument("--score", default="log_odds", help="score of the truth and of SRG")
    parser.add_argument("--window", type=int, help="window of the truth in voxels; default: about 14 mm")
    parser.add_argument("--stride", type=int, help="stride of the truth in voxels; default: about 8 mm")
    parser.add_argument(
        "--srg", default="twin,zero", help="fills of the symmetric relevance gain (SRG); empty: none"
    )
    parser.add_argument("--srg-steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("truth.jsonl"))
    parser.add_argument(
        "--table", nargs="+", type=Path, help="files of results: print them as Markdown, run nothing"
    )
    options = parser.parse_args()
    if not options.table and not options.checkpoint:
        parser.error("give a cohort and a checkpoint, or --table FILE")
    options.srg = [name for name in options.srg.split(",") if name]
    return options


def chosen(scans, options):
    """Take patients and controls in the cohort's order."""
    patients = [record for record in scans if record.label == options.target]
    healthy = [record for record in scans if record.label != options.target]
    for kind, found, wanted in (
        ("patients", patients, options.patients),
        ("controls", healthy, options.healthy),
    ):
        if len(found) < wanted:
            raise SystemExit(f"{options.cohort}: has {len(found)} {kind}, {wanted} were asked for")
    return patients[: options.patients] + healthy[: options.healthy]


def named_methods(options, model, settings):
    """Return the functions that make maps, by name of their row, in the order of the table."""
    found = {_RANDOM: baseline(lambda case, seed: random_map(case.inside.shape, seed))}
    found[_EDGES] = baseline(lambda case, seed: edge_map(case.volume[0, 0]))
    for text in options.methods.split():
        found[text] = ours(text, model, settings)
    known = peers(settings["architecture"])
    names = {"all": list(known), "none": []}.get(options.peers, options.peers.split(","))
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no peer {unknown[0]!r}; there are {', '.join(known) or 'none installed'}")
    return found | {name: peer(known[name], settings) for name in names}


def baseline(make):
    def run(model, case, target):
        return make(case, int(voxel_hash(case.fitted.scan)[:8], 16)), {}

    return run


def ours(text, model, settings):
    """Return a function that explains with one of our methods; it raises if the spelling is wrong."""
    spelling = text
    if text.split(":")[0] == "occlusion":
        for key in ("window", "stride"):
            if f"{key}=" not in text:
                spelling += ("," if ":" in spelling else ":") + f"{key}={settings[key]}"
    try:
        spec = parse_method(spelling)
    except ValueError as error:  # noted with every subject; the other methods go on
        failed = error

        def fail(model, case, target):
            raise failed

        return fail
    kept = {}

    def run(model, case, target):
        if not kept:  # what does not depend on the scan is done once
            spacing = model.card.preprocessing.spacing
            kept["explain"] = spec.build(model, spacing=spacing, keep_trace=True)
        # Nothing is measured outside the brain: windows there are left out, as they are for peers.
        more = {"sa3ducm": {"groups": case.regions}, "occlusion": {"mask": case.inside}}
        more = more.get(spec.method.name, {})
        result = kept["explain"].run(case.volume, target, **more)
        facts = {"spelling": result.method, **result.reports[0].facts()}
        return result.heatmap[0].float().cpu().numpy(), facts

    return run


def peer(call, settings):
    def run(model, case, target):
        torch.manual_seed(_SEED)
        spacing = model.card.preprocessing.spacing
        return call(
            Call(model, case.volume, target, settings["window"], settings["stride"], case.inside, spacing)
        ), {}

    return run


def explain_subject(record, left, rows, model, target, settings, options):
    case = read_case(record, Path(options.cohort), model.card)
    if seen_in_training(model.card, voxel_hash(case.fitted.scan), record.subject).image:
        raise SystemExit(f"{record.subject} was among the scans that the network was trained on")
    truth = None
    if case.twin is not None:
        truth = truth_of(case, model, target, settings, options)
    spacing = float(np.linalg.norm(case.fitted.affine[:3, :3], axis=0).mean())
    grid = WindowGrid(case.inside.shape, (settings["window"],) * 3, (settings["stride"],) * 3)
    centres = np.zeros(case.inside.shape, bool)
    centres[tuple(slice(o, None, s) for o, s in zip(grid.offsets, grid.stride, strict=True))] = True
    for name in left:
        line = {"subject": record.subject, "label": record.label, "method": name}
        started = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                heat, facts = rows[name](model, case, target)
            line |= {"seconds": round(time.monotonic() - started, 3), "facts": facts}
            if not np.isfinite(heat).all():
                raise ValueError("the map has NaN or infinity")
            if truth is None:
                line["figures"] = anatomy_figures(heat, case)
            else:
                line["figures"] = patient_figures(heat, case, truth, centres, settings["window"], spacing)
                line["figures"] |= gains(
                    model, heat, case, target, settings["srg"], settings["srg_steps"], settings["score"]
                )
        except Exception as error:
            line["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        append(options.out, line)
        told = line.get("error") or short(line["figures"])
        print(f"{record.subject} {record.label}  {name}: {told}", flush=True)


def short(figures):
    wanted = ("rank", "truth_ap", "planted_core", "srg_twin", "ventricle_share")
    return ", ".join(f"{key} {figures[key]:.3f}" for key in wanted if key in figures)


def truth_of(case, model, target, settings, options):
    """Return T of a patient, stored beside the results; write the truth of regions to the results."""
    kept = options.out.with_suffix(".truth") / f"{case.record.subject}.npy"
    if kept.is_file():
        return np.load(kept)
    started = time.monotonic()
    own = {"score": settings["score"]}
    truth = causal_truth(
        model, case.volume, case.twin, target, window=settings["window"], stride=settings["stride"], **own
    ).numpy()
    seconds = round(time.monotonic() - started, 3)
    masks = {**case.regions, **case.planted}
    masks["rest"] = case.inside & ~np.logical_or.reduce(list(case.regions.values()))
    masks["all"] = np.ones_like(case.inside)
    regions = region_truth(model, case.volume, case.twin, masks, target, **own)
    line = {"subject": case.record.subject, "label": case.record.label, "truth": regions}
    append(options.out, line | {"seconds": seconds})
    print(f"{case.record.subject}  truth in {seconds} s: {regions}", flush=True)
    kept.parent.mkdir(exist_ok=True)
    partial = kept.with_suffix(".partial.npy")
    np.save(partial, truth)
    partial.replace(kept)
    return truth


def begin(out, settings):
    """Print and write machine and settings; return the pairs of subject and method that are done."""
    facts = machine()
    print(json.dumps({**facts, **settings}, indent=1), flush=True)
    lines = read_lines(out) if out.exists() else []
    for line in lines:
        if "settings" in line and line["settings"] != settings:
            changed = [key for key in settings if line["settings"].get(key) != settings[key]]
            raise SystemExit(f"{out}: holds results with another {', '.join(changed)}; choose another file")
    append(out, {"settings": settings, "machine": facts})
    return {(line["subject"], line["method"]) for line in lines if "figures" in line}


def append(out, line):
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def machine():
    from run import cpu_name

    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {
        "processor": cpu_name(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": found | {"pyadx": pyadx.__version__},
    }


if __name__ == "__main__":
    main()
