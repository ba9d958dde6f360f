"""Shapley values of regions: ours beside SHAP's, Captum's and shap-bpt's estimators.

``python benchmarks/shapley_peers.py vggnet --players 20 50 --out results.jsonl`` explains the synthetic
patient of ``pyadx demo`` and adds a line for every number of regions and estimator. A second call goes on
where the first one stopped. The network ``slice`` is a 2D network for an axial slice.
``--table results.jsonl`` prints Markdown.

All estimators have the same network, regions (a cut of the scan's hierarchy), fill and score (log-odds of
AD). A peer gets a function from coalitions to scores, so nearly all of its time goes to full forwards. It
is called several times with different seeds; their spread gives its standard error. Times are CPU seconds
of the process, on one thread, since they depend little on other load.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from run import cpu_name, installed
from shapley_estimators import PEERS, Task, installed_peers
from shapley_game import Game, evaluations_of_all
from shapley_ours import TARGET, Watch, boxes, of_shapiq, ours, partition_on_ours
from shapley_table import markdown

import pyadx
from pyadx import models
from pyadx.explainers.players import Choice, players_of_tree
from pyadx.explainers.references import fill_of
from pyadx.markdown import markdown_table
from pyadx.segmentation import ucm

_PACKAGES = ("pyadx", "torch", "numpy", "shap", "captum", "shap-bpt", "shapiq", "scikit-learn")
_REPEATS = {8: 20, 12: 20, 20: 5}  # calls of a peer, by number of regions
_FEWER_REPEATS = 3  # for other numbers of regions
_EXACT = 30  # evaluations per region that the exact recursion over a tree may take
_SLICE = "slice"


@dataclass(frozen=True, eq=False)
class Case:
    """A network, its scan ``[1, 1, D, H, W]``, and the hierarchy that regions are cut from."""

    model: torch.nn.Module
    volume: torch.Tensor
    tree: object
    spacing: float | None = None
    peer_of_pixels: object = None


def main():
    options = arguments()
    if options.table:
        print("\n".join(markdown(run) for path in options.table for run in runs(read(path))))
        return
    torch.set_num_threads(options.threads)
    if options.boxes:
        rows = [boxes(case_of(options.network, count), count) for count in options.players]
        print(markdown_table(list(rows[0]), [row.values() for row in rows]))
        return
    settings = {"network": options.network, "pairs": options.pairs, "fill": "local", "score": "log_odds"}
    done = begin(options.out, settings)
    warm_up()
    for players in options.players:
        rows = estimators(case_of(options.network, players), players, options)
        for name, row in rows.items():
            if (players, name) in done or (options.only and name not in options.only):
                continue
            line = {"players": players, "estimator": name, **row()}
            append(options.out, line)
            print(
                f"{players} {name}: {line['evaluations']} evaluations, {line['seconds']:.1f} s", flush=True
            )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("network", nargs="?", choices=["vggnet", "resnet-shallow-gap", _SLICE])
    parser.add_argument("--players", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--pairs", type=int, default=16, help="pairs of orders for pyadx")
    parser.add_argument("--only", nargs="+", help="only these estimators, by their names in the table")
    parser.add_argument("--boxes", action="store_true", help="print what a commit costs, and why")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("shapley-peers.jsonl"))
    parser.add_argument(
        "--table", nargs="+", type=Path, help="files of results: print them as Markdown, run nothing"
    )
    options = parser.parse_args()
    if not options.table and not options.network:
        parser.error("give a network, or --table FILE")
    return options


def warm_up():
    """Load what tracing needs before time counts; peers have the same chance."""
    model, volume = models.build("resnet-shallow-gap", (20, 20, 20), seed=0), torch.rand(1, 1, 20, 20, 20)
    halves = np.repeat([1, 2], 10)[:, None, None] * np.ones((20, 20, 20), int)
    pyadx.RegionShapley(model, pairs=1).run(volume, TARGET, halves)


def case_of(network, players):
    """Return network, scan and tree."""
    if network == _SLICE:
        import shapley_slice

        flat, model = shapley_slice.network()
        volume, own_tree, tree = shapley_slice.slice_case(players)
        filled = fill_of("local", volume[0], model)
        pixels = shapley_slice.Pixels(flat, volume, filled, TARGET)
        numbers = tree.cut(players)

        def explain(evaluations):
            return shapley_slice.explained(pixels, own_tree, evaluations, numbers, players), pixels

        return Case(model, volume, tree, None, explain)
    from pyadx.models.demonstration import demonstration_checkpoint

    model = models.load(demonstration_checkpoint(network)).eval()
    volume, spacing = patient(model.card), model.card.preprocessing.spacing
    tree = ucm(volume[0, 0], volume[0, 0] != 0, spacing=spacing)
    return Case(model, volume, tree, spacing)


def patient(card):
    """Return the synthetic patient of ``pyadx demo`` on the network's grid, ``[1, 1, D, H, W]``."""
    from pyadx.data import read_scan
    from pyadx.data.grids import fit_to_card
    from pyadx.data.inputs import prepared_volume
    from pyadx.data.phantom import cohort_grid, draw_people, make_scan, save_synthetic

    person = max(draw_people(103, 2), key=lambda one: one.severity)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        save_synthetic(path, make_scan(person, cohort_grid()).t1)
        return prepared_volume(fit_to_card(read_scan(path), card), card)


def estimators(case, players, options):
    """Return the measurements by name: ours first, then those of the peers that are installed."""
    found = {
        f"pyadx, {order}": lambda order=order: ours(case, players, order, options.pairs)
        for order in ("flat", "tree")
    }
    made = players_of_tree(case.tree, Choice(players), None)
    filled = fill_of("local", case.volume[0], case.model, spacing=case.spacing)
    kept = []

    def game():
        if not kept:  # searches the best batch size, once
            kept.append(Game(case.model, case.volume, TARGET, made.numbers, filled))
        return kept[0]

    for name, peer in installed_peers().items():
        found[name] = lambda peer=peer: of_peer(peer, game(), made.splits)
    if find_spec("shapiq"):
        for method in ("PermutationSamplingSV", "KernelSHAP"):
            found[f"shapiq {method} on our game"] = lambda method=method: of_shapiq(
                case, players, method, repeats_of(players)
            )
    if find_spec("shapiq") and find_spec("shap"):
        spends = budget(PEERS["SHAP Partition"], players, made.splits)
        found["SHAP Partition on our game"] = lambda: partition_on_ours(case, players, made.splits, spends)
    if case.peer_of_pixels:
        found["shap-bpt, pixels of its own tree"] = lambda: of_pixels(case, players)
    return found


def repeats_of(players):
    return _REPEATS.get(players, _FEWER_REPEATS)


def budget(peer, players, splits):
    """Return evaluations per call: enough for exact values where the recursion over the tree is short."""
    exact = evaluations_of_all(players, splits)
    if not peer.random and exact <= _EXACT * players:
        return exact
    return peer.spends * players


def of_peer(peer, game, splits):
    repeats = repeats_of(game.players) if peer.random else 1
    spends = budget(peer, game.players, splits)
    tiny = Task(_Sum(game), splits, spends, 0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        peer.call(tiny)  # loads and compiles the peer's code
        game.evaluations = 0
        watch = Watch()
        found = [peer.call(Task(game, splits, spends, seed)) for seed in range(1, repeats + 1)]
    line = watch.line(game.evaluations)
    if peer.random:
        line["errors"] = (np.std(found, 0, ddof=1) / np.sqrt(repeats)).tolist()
    else:
        line["exact_at"] = evaluations_of_all(game.players, splits)
    layout = str(game.layout).removeprefix("torch.")
    return line | {
        "values": np.mean(found, 0).tolist(), "order": peer.order, "repeats": repeats,
        "batch": game.batch, "layout": layout,
    }  # fmt: skip


class _Sum:
    """A game that costs nothing."""

    def __init__(self, game):
        self.players, self.batch = game.players, game.batch

    def __call__(self, present):
        return np.asarray(present, float).reshape(-1, self.players).sum(1)


def of_pixels(case, players):
    watch = Watch()
    values, pixels = case.peer_of_pixels(100 * players)
    return watch.line(pixels.evaluations) | {"values": values.tolist(), "order": "tree", "repeats": 1}


def read(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def runs(lines):
    """Split the lines of a file with several networks."""
    found = []
    for line in lines:
        if "settings" in line:
            found.append([])
        found[-1].append(line)
    return found


def begin(out, settings):
    """Write machine and settings; return the pairs of players and estimator that are done."""
    lines = read(out) if out.exists() else []
    if lines and lines[0]["settings"] != settings:
        raise SystemExit(f"{out}: holds results with other settings; choose another file")
    if not lines:
        machine = {
            "date": datetime.date.today().isoformat(),
            "processor": cpu_name(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "versions": {package: installed(package) for package in _PACKAGES},
        }
        append(out, {"settings": settings, "machine": machine, "command": " ".join(sys.argv)})
    return {(line["players"], line["estimator"]) for line in lines[1:]}


def append(out, line):
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
