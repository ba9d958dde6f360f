"""Progress bars."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

# Seconds that a call has to take before it shows a bar that was not explicitly requested.
_PATIENCE = 2.0


def is_interactive() -> bool:
    """Whether output goes to a person: standard error is a terminal, or the code runs in a notebook."""
    return _in_notebook() or bool(sys.stderr is not None and sys.stderr.isatty())


@contextmanager
def progress_bar(title: str, total: int, shown: bool | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar with an estimate of the time left.

    Parameters
    ----------
    title : str
        Text in front of the bar.
    total : int
        Number of steps.
    shown : bool, optional
        Whether to show the bar. With None it appears only in a terminal or notebook, and only if the work
        takes longer than two seconds.

    Yields
    ------
    callable
        Call it with the number of steps just done.
    """
    if shown is None and not is_interactive():
        shown = False
    if shown is False:
        yield lambda count: None
        return
    bar = _Bar(title, total, patience=0.0 if shown else _PATIENCE)
    try:
        yield bar.advance
    except BaseException:
        bar.hide()  # leaves only the error message on the screen
        raise
    finally:
        bar.stop()


class _Bar:
    """A bar that appears once the work has taken ``patience`` seconds."""

    def __init__(self, title: str, total: int, patience: float) -> None:
        self._title, self._total, self._patience = title, total, patience
        self._began, self._done = monotonic(), 0
        self._shown: Any = None
        if patience == 0:
            self._show()

    def advance(self, count: int) -> None:
        self._done += count
        if self._shown is None and monotonic() - self._began >= self._patience and self._done < self._total:
            self._show()
        if self._shown is not None:
            self._shown.update(self._task, completed=self._done)

    def hide(self) -> None:
        if self._shown is not None:
            self._shown.update(self._task, visible=False)

    def stop(self) -> None:
        if self._shown is not None:
            self._shown.stop()

    def _show(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._shown = Progress(*columns, console=_console())
        self._shown.start()
        self._task = self._shown.add_task(self._title, total=self._total, completed=self._done)


def _console() -> Any:
    """Return the console that draws the bar: standard error, including that of a notebook cell."""
    from importlib.util import find_spec

    from rich.console import Console

    if _in_notebook() and find_spec("ipywidgets") is None:
        # In a notebook Rich uses ipywidgets, and warns if they are missing. Cells understand carriage
        # returns, so it can draw as in a terminal instead.
        return Console(stderr=True, force_jupyter=False, force_terminal=True, width=80)
    return Console(stderr=True)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
