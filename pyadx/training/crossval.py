"""Cross-validation: each round has its own folder, and after an interruption only unfinished ones run."""

import csv
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.cohort.splits import SplitPlan
from pyadx.data.inputs import PreparedScans
from pyadx.files import replacing
from pyadx.training.loop import Epoch
from pyadx.training.rounds import Hardware, Recipe, read_result, run_round


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation over the rounds (``ddof`` 0, as the paper reports them).

    Attributes
    ----------
    rounds : int
        Number of rounds.
    auc, accuracy : tuple of float
        Mean and standard deviation.
    """

    rounds: int
    auc: tuple[float, float]
    accuracy: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"AUC {self.auc[0]:.3f} +- {self.auc[1]:.3f}, accuracy {self.accuracy[0]:.3f} +- "
            f"{self.accuracy[1]:.3f} over {self.rounds} round{'s' if self.rounds != 1 else ''}"
        )


def round_folder(folder: Path, name: str) -> Path:
    """Return the folder of a round's files."""
    return folder / "rounds" / name


def finished(folder: Path, plan: SplitPlan) -> list[dict[str, Any]]:
    """Return the results of all finished rounds, in the order of the plan."""
    found = [read_result(round_folder(folder, one.name)) for one in plan.rounds]
    return [result for result in found if result is not None]


def run_rounds(
    folder: str | os.PathLike[str],
    plan: SplitPlan,
    scans: PreparedScans,
    recipe: Recipe,
    hardware: Hardware,
    *,
    keep_models: bool = False,
    on_batch: Callable[[int], None] = lambda scans: None,
    on_epoch: Callable[[str, list[Epoch]], None] = lambda name, epochs: None,
) -> list[dict[str, Any]]:
    """Run the unfinished rounds of a plan, one after the other.

    A round that was interrupted continues after its last finished epoch.

    Parameters
    ----------
    folder : path
        Folder of the cross-validation; see `round_folder`.
    plan : SplitPlan
        The rounds.
    scans : PreparedScans
        Scans of all subjects of the plan.
    recipe, hardware : Recipe, Hardware
        What to train, and on what.
    keep_models : bool
        Write the checkpoint of each round.
    on_batch : callable
        Called after each batch with its number of scans.
    on_epoch : callable
        Called after each epoch with the name of the round and all its epochs so far.

    Returns
    -------
    list of dict
        Results of all rounds, in the order of the plan; see `run_round`.

    Raises
    ------
    ValueError
        As `run_round`.
    """
    folder = Path(folder)
    for one in plan.rounds:
        own = round_folder(folder, one.name)
        if read_result(own) is not None:
            continue
        run_round(
            own,
            one,
            scans,
            recipe,
            hardware,
            keep_model=keep_models,
            on_batch=on_batch,
            on_epoch=lambda epochs, name=one.name: on_epoch(name, epochs),  # type: ignore[misc]
        )
    return finished(folder, plan)


def summarise(results: Iterable[dict[str, Any]]) -> Summary:
    """Return the mean and standard deviation of AUC and accuracy.

    Parameters
    ----------
    results : iterable of dict
        Results of `run_round`, at least one.
    """
    rows = list(results)
    auc, accuracy = (np.array([row[name] for row in rows]) for name in ("auc", "accuracy"))
    return Summary(
        len(rows),
        (float(auc.mean()), float(auc.std())),
        (float(accuracy.mean()), float(accuracy.std())),
    )


def write_tables(folder: Path, results: list[dict[str, Any]], title: str) -> None:
    """Write ``rounds.csv``, ``rounds.md`` and ``predictions.csv``.

    Parameters
    ----------
    folder : Path
        Folder of the cross-validation.
    results : list of dict
        Results of `run_round`, at least one.
    title : str
        Heading of ``rounds.md``.
    """
    columns = ("round", "auc", "accuracy", "loss", "epochs", "seconds")
    with replacing(folder / "rounds.csv") as (partial,), partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(results)
    lines = [f"# {title}", "", f"{summarise(results)} (standard deviation with ddof 0).", ""]
    lines += [
        "| round | AUC | accuracy | training loss | epochs | training time (s) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['round']} | {r['auc']:.3f} | {r['accuracy']:.3f} | {r['loss']:.4f} | {r['epochs']} | "
        f"{r['seconds']:.0f} |"
        for r in results
    ]
    with replacing(folder / "rounds.md") as (partial,):
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with replacing(folder / "predictions.csv") as (partial,), partial.open("w", newline="") as file:
        names = results[0]["class_names"]
        rows = csv.writer(file)
        rows.writerow(["round", "subject", "label", *(f"p_{name}" for name in names)])
        for r in results:
            rows.writerows(
                [r["round"], t["subject"], t["label"], *(f"{p:.6f}" for p in t["probabilities"])]
                for t in r["test"]
            )
