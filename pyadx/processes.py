"""Processes that run tasks, and stop when the process that started them is interrupted or dies."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

_GRACE = 5.0  # seconds that a stopped task has to remove its unfinished files


@contextmanager
def processes(count: int, prepare: Callable[..., None] | None = None, *given: Any) -> Iterator["Processes"]:
    """Start processes for the block.

    If an exception ends the block, Ctrl-C among them, running tasks get a ``KeyboardInterrupt``, waiting
    ones are dropped, and the processes end without a traceback. A task that has not ended after 5 s is
    killed. The same happens when the process that runs the block dies.

    Parameters
    ----------
    count : int
        Number of processes.
    prepare : callable, optional
        Importable function that each process calls first, with the arguments ``given``.

    Yields
    ------
    Processes
        Takes tasks.
    """
    resource_tracker.ensure_running()  # once it runs, it lets Ctrl-C through, also one that waited
    context = get_context("spawn")
    # Nothing is ever sent. The receiving end sees the other one closed, by this process or by its death.
    stopped, running = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(stopped, prepare, given))
    with stopped, running:
        try:
            yield Processes(executor)
        except BaseException:
            running.close()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


class Processes:
    """Processes that take tasks (`processes`)."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        """Start ``work(*given)`` when a process is free; both must be importable by their names."""
        # A process may start here. It inherits the block of Ctrl-C, and lifts it when it can handle it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._executor.submit(_run, work, *given)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Interruption:
    """Ctrl-C in a worker: it stops the running task once, and every later task before it begins."""

    asked = False  # Ctrl-C was pressed, or the starting process stopped or died
    in_task = False

    @classmethod
    def handle(cls, number: int, frame: Any) -> None:
        first, cls.asked = not cls.asked, True
        if first and cls.in_task:  # a second one would disturb the removal of unfinished files
            raise KeyboardInterrupt


def _run(work: Callable[..., Any], *given: Any) -> Any:
    if _Interruption.asked:
        raise KeyboardInterrupt
    _Interruption.in_task = True
    try:
        return work(*given)
    finally:
        _Interruption.in_task = False


def _begin(stopped: Connection, prepare: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, _Interruption.handle)
    threading.Thread(target=_wait_for_stop, args=(stopped,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if prepare is not None:
        prepare(*given)


def _wait_for_stop(stopped: Connection) -> None:
    """Stop this process when its parent has stopped, at once or, if a task does not end, after a while."""
    stopped.poll(None)  # until the other end is closed
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGINT)
