"""Sessions of Ray, on this machine or on a running cluster."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from pyadx.extras import needed_for


def check_ray(option: str) -> None:
    """Raise ``ValueError`` if Ray is not installed; ``option`` is the command-line option that needs it."""
    with needed_for(option):
        import ray  # noqa: F401


@contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[Any]:
    """Yield the module ``ray``, started here or connected to a cluster; stop or disconnect it at the end.

    Parameters
    ----------
    address : str or None
        Address of a running cluster; ``None`` starts Ray on this machine.
    cpus : int
        Number of cores on this machine that Ray may give to tasks; not used with a cluster.
    """
    import ray

    # Workers use the Python packages that their machine has; nothing is uploaded. Those on this machine
    # inherit MKL's rounding mode; those of a cluster need it set, to compute the same bytes.
    rounding = os.environ.get("MKL_CBWR")
    environment = {"env_vars": {"MKL_CBWR": rounding}} if address and rounding else None
    terminated = signal.getsignal(signal.SIGTERM)
    ray.init(
        address=address,
        num_cpus=None if address else cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        ignore_reinit_error=True,
        runtime_env=environment,
    )
    if callable(terminated) and threading.current_thread() is threading.main_thread():
        # Ray installs a handler of its own, which prints a stack and aborts.
        signal.signal(signal.SIGTERM, terminated)
    try:
        yield ray
    finally:
        ray.shutdown()


def ray_results(
    ray: Any, submit: Callable[[Any], Any], items: Iterable[Any], in_flight: int, tries: int
) -> Iterator[tuple[Any, Any | BaseException]]:
    """Run a task for every item, and yield each item with its result or its error when it is done.

    An item is submitted again if Ray lost its task: a worker or node died, memory ran out, or an object
    was lost. It is not submitted again if the task itself raised an error. Create tasks with
    ``max_retries=0``, because Ray's own retries never end if memory runs out.

    Parameters
    ----------
    ray : module
        From `ray_session`.
    submit : callable
        Takes an item, starts its task, and returns Ray's reference to the result.
    items : iterable
        Read only as tasks can be submitted.
    in_flight : int
        Largest number of tasks that run or wait at the same time.
    tries : int
        How often an item is submitted at most.

    Yields
    ------
    tuple
        The item, and the result of its task or the exception that ended it.

    Raises
    ------
    OSError
        If Ray itself can no longer be reached.
    """
    from ray.exceptions import RayError, RayTaskError

    waiting = iter(items)
    open_: dict[Any, tuple[Any, int]] = {}
    while True:
        try:
            for item in islice(waiting, in_flight - len(open_)):
                open_[submit(item)] = item, 1
            if not open_:
                return
            (done, *_), _ = ray.wait(list(open_), num_returns=1)
        except RayError as error:
            raise OSError(f"Ray can no longer be reached ({in_a_line(error)})") from None
        item, tried = open_.pop(done)
        try:
            result = ray.get(done)
        except RayTaskError as error:
            result = error.cause if isinstance(error.cause, Exception) else error
        except RayError as error:
            if tried < tries:
                open_[submit(item)] = item, tried + 1
                continue
            result = error
        yield item, result


def is_of_ray(error: BaseException) -> bool:
    """Whether an error is Ray's own, such as a lost worker, and was not raised by the task."""
    from ray.exceptions import RayError

    return isinstance(error, RayError)


def in_a_line(error: BaseException) -> str:
    """Return the type and message of an error in one short line; Ray's messages have many lines."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
