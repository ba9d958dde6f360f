"""Splits into training and test sets: by subject, stratified, seeded, and verified when read."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pyadx.extras import needed_for
from pyadx.files import replacing

PAPER_SET_ASIDE = {"AD": 5, "NC": 3}


@dataclass(frozen=True)
class Round:
    """One round: its training subjects and its test subjects."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class SplitPlan:
    """All rounds of a cross-validation.

    Attributes
    ----------
    labels : dict
        Class by subject, for all subjects.
    set_aside : tuple of str
        Subjects that no round may use; they are kept for explanations.
    rounds : tuple of Round
        Rounds in order.
    seed : int
        Random seed of the plan.
    """

    labels: dict[str, str]
    set_aside: tuple[str, ...]
    rounds: tuple[Round, ...]
    seed: int = 0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON."""
        with replacing(Path(path)) as (partial,):
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def plan_splits(
    labels: Mapping[str, str],
    splits: int = 5,
    folds: int = 5,
    seed: int = 0,
    set_aside: Mapping[str, int] | None = None,
) -> SplitPlan:
    """Draw a cross-validation plan: ``folds`` stratified folds, shuffled ``splits`` times.

    Parameters
    ----------
    labels : mapping
        Class by subject. Folds consist of subjects, so that no subject is in both sets.
    splits, folds : int
        The paper uses 5 and 5, hence 25 rounds.
    seed : int
        Random seed.
    set_aside : mapping, optional
        Number of subjects per class that no round uses; none by default. The paper uses 5 AD, 3 NC.

    Raises
    ------
    ValueError
        If a class has too few subjects for the folds and those set aside.
    """
    with needed_for("a cross-validation"):
        from sklearn.model_selection import StratifiedKFold

    if splits < 1 or folds < 2:
        raise ValueError(f"a cross-validation needs 1 split and 2 folds at least, got {splits} and {folds}")
    subjects = np.array(sorted(labels))
    classes = np.array([labels[name] for name in subjects])
    aside = []
    random = np.random.default_rng([seed, 1])
    for name, count in (set_aside or {}).items():
        members = subjects[classes == name]
        if count < 0 or count > len(members):
            raise ValueError(
                f"cannot set {count} subjects of {name} aside: there are {len(members)}; choose fewer, or "
                "--set-aside none"
            )
        aside += random.permutation(members)[:count].tolist()
    rest = np.flatnonzero(~np.isin(subjects, aside))
    for name in sorted(set(labels.values())):
        left = int((classes[rest] == name).sum())
        if left < folds:
            way_out = (
                " that are not set aside; set nobody aside with --set-aside none, or" if aside else ";"
            )
            raise ValueError(
                f"{folds} folds need {folds} subjects of every class; {name} has {left}{way_out} take "
                "fewer --folds"
            )
    rounds = []
    for split in range(splits):
        drawn = np.random.default_rng([seed, 2, split]).integers(2**31)
        folding = StratifiedKFold(folds, shuffle=True, random_state=int(drawn))
        for fold, (train, test) in enumerate(folding.split(rest, classes[rest])):
            rounds.append(
                Round(
                    f"split{split + 1}-fold{fold + 1}",
                    tuple(subjects[rest[train]].tolist()),
                    tuple(subjects[rest[test]].tolist()),
                )
            )
    plan = SplitPlan(dict(sorted(labels.items())), tuple(sorted(aside)), tuple(rounds), seed)
    check_plan(plan)
    return plan


def load_plan(path: str | os.PathLike[str], labels: Mapping[str, str] | None = None) -> SplitPlan:
    """Read a plan and verify it.

    Parameters
    ----------
    path : path
        A file of `SplitPlan.save`, or another file of the same form.
    labels : mapping, optional
        The cohort's subjects and classes, which the plan must match.

    Raises
    ------
    ValueError
        If the file is not a plan, a subject is in both sets of a round, a subject that was set aside is
        used, or subjects or classes are not those of the cohort.
    """
    source = Path(path)
    if not source.is_file():
        raise ValueError(f"{source}: no such split file")
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
        rounds = tuple(Round(str(r["name"]), _names(r["train"]), _names(r["test"])) for r in data["rounds"])
        plan = SplitPlan(
            {str(k): str(v) for k, v in data["labels"].items()},
            _names(data["set_aside"]),
            rounds,
            int(data.get("seed", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{source}: is not a split file ({error!r})") from None
    try:
        check_plan(plan)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    if labels is not None:
        check_plan_fits(plan, labels, str(source))
    return plan


def _names(members: object) -> tuple[str, ...]:
    if not isinstance(members, list) or not all(isinstance(name, str) for name in members):
        raise ValueError("subjects are lists of text")
    return tuple(members)


def check_plan(plan: SplitPlan) -> None:
    """Raise ``ValueError`` if a subject is in both sets of a round, or is used though set aside."""
    aside = set(plan.set_aside)
    names = [r.name for r in plan.rounds]
    if not plan.rounds or len(set(names)) != len(names):
        raise ValueError("needs rounds with unique names")
    for one in plan.rounds:
        train, test = set(one.train), set(one.test)
        for what, members in (
            ("on both sides", train & test),
            ("set aside and yet used", (train | test) & aside),
            ("not among the labels", (train | test | aside) - set(plan.labels)),
        ):
            if members:
                raise ValueError(f"{one.name}: {_some(members)} {what}")
        if len(train) != len(one.train) or len(test) != len(one.test):
            raise ValueError(f"{one.name}: a subject is listed twice")
        classes = {plan.labels[name] for name in train}
        if len(classes) < 2:
            raise ValueError(f"{one.name}: trains on one class only ({', '.join(classes) or 'nobody'})")


def check_plan_fits(plan: SplitPlan, labels: Mapping[str, str], source: str) -> None:
    """Raise ``ValueError`` if a plan does not match the subjects and classes of a cohort."""
    for what, members in (
        ("not in the cohort", set(plan.labels) - set(labels)),
        ("of another class in the cohort", {n for n in plan.labels if labels.get(n) != plan.labels[n]}),
    ):
        if members:
            raise ValueError(f"{source}: {_some(members)} {what}")


def _some(members: set[str]) -> str:
    first = sorted(members)[:3]
    more = len(members) - len(first)
    return (
        ", ".join(first) + (f" and {more} more" if more else "") + (" is" if len(members) == 1 else " are")
    )
