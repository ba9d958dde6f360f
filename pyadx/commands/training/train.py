"""``pyadx train``: train a network on a cohort."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyadx.commands.training.setup import Setup, TrainingRequest, is_first_process, set_up
from pyadx.data.cohort.splits import Round
from pyadx.training.loop import Epoch
from pyadx.training.rounds import read_result, run_round


def run_train(
    request: TrainingRequest, whole: bool = False, round_name: str | None = None
) -> dict[str, Any]:
    """Train one network.

    Parameters
    ----------
    request : TrainingRequest
        Its first round is trained and tested, unless ``whole`` or ``round_name`` says otherwise.
    whole : bool
        Train on all subjects that are not set aside, and test on none.
    round_name : str, optional
        Another round of the splits.

    Returns
    -------
    dict
        See `pyadx.training.rounds.run_round`.

    Raises
    ------
    ValueError
        If an input or option does not fit. Raised before any training.
    """
    if whole and round_name is not None:
        raise ValueError("--whole and --round exclude each other")
    setup = set_up(request)
    if not request.overwrite and (done := read_result(setup.folder)) is not None:
        return done
    one = pick_round(setup, whole, round_name)
    scans = setup.read()
    people = len(scans.indices(one.train))
    with ExitStack() as stack:
        shown = request.progress and is_first_process()
        meter = EpochMeter(stack, people, setup.recipe.protocol.epochs) if shown else None
        return run_round(
            setup.folder,
            one,
            scans,
            setup.recipe,
            setup.hardware,
            tensorboard=request.tensorboard,
            on_batch=meter.advance if meter else lambda scans: None,
            on_epoch=meter.epoch if meter else lambda epochs: None,
        )


def pick_round(setup: Setup, whole: bool, name: str | None) -> Round:
    """Return the round to train."""
    first = setup.plan.rounds[0]
    if whole:
        return replace(first, name="whole", train=tuple(sorted({*first.train, *first.test})), test=())
    if name is None:
        return first
    for one in setup.plan.rounds:
        if one.name == name:
            return one
    raise ValueError(f"--round {name}: the splits have {', '.join(r.name for r in setup.plan.rounds)}")


class EpochMeter:
    """A progress bar over the scans of all epochs, with the last epoch's figures beside it.

    Parameters
    ----------
    stack : ExitStack
        Closes the bar.
    scans, epochs : int
        Number of scans and epochs of one round.
    rounds : int
        Number of rounds of the bar.
    """

    def __init__(self, stack: ExitStack, scans: int, epochs: int, rounds: int = 1) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        self._scans, self._epochs = scans, epochs
        self._task = self._bar.add_task("training", total=scans * epochs * rounds)

    def advance(self, scans: int) -> None:
        """Count processed scans."""
        self._bar.advance(self._task, scans)

    def epoch(self, epochs: list[Epoch], title: str = "", rounds_before: int = 0) -> None:
        """Show the results of the last epoch."""
        last = epochs[-1]
        text = (
            f"{title} epoch {last.epoch}/{self._epochs}  loss {last.loss:.3f}  AUC {last.auc:.3f}  "
            f"accuracy {last.accuracy:.3f}"
        )
        # The total is approximate: an epoch may repeat scans of a rare class, and rounds differ in size.
        done = self._scans * (self._epochs * rounds_before + last.epoch)
        self._bar.update(self._task, description=text.strip(), completed=done)


def checkpoint_file(folder: Path) -> Path:
    """Return the path of a run's trained network."""
    return folder / "model.safetensors"
