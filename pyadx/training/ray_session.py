"""Ray, started on this machine or joined as a running cluster, and left again."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from pyadx.extras import needed_for


def check_ray(option: str) -> None:
    """Raise ``ValueError`` if Ray, which an option of the command line asks for, is not installed."""
    with needed_for(option):
        import ray  # noqa: F401


@contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[Any]:
    """Yield the module ``ray``, initialised; stop or leave it at the end.

    Parameters
    ----------
    address : str, optional
        Of a running cluster; without it Ray is started on this machine.
    cpus : int
        Cores that Ray may share out on this machine.
    """
    import ray

    # Uv's and pip's environments are the workers' own business; nothing is uploaded. Processes of this
    # machine inherit how MKL rounds; a cluster is told, so that it gives the same bytes.
    rounding = os.environ.get("MKL_CBWR")
    told = {"env_vars": {"MKL_CBWR": rounding}} if address and rounding else None
    ray.init(
        address=address,
        num_cpus=None if address else cpus,
        include_dashboard=False,
        log_to_driver=False,
        ignore_reinit_error=True,
        runtime_env=told,
    )
    try:
        yield ray
    finally:
        ray.shutdown()


def ray_results(
    ray: Any, submit: Callable[[Any], Any], items: Iterable[Any], in_flight: int, tries: int
) -> Iterator[tuple[Any, Any | BaseException]]:
    """Yield every item with its result, or with the error that it ended with, as they are done.

    An item whose task was lost (its worker, node, memory or object) is submitted again; what the task
    itself raised is not. Ray's own tries, which have no end where memory runs out, are to be switched off
    with ``max_retries=0``.

    Parameters
    ----------
    ray : module
        From `ray_session`.
    submit : callable
        Given an item, starts its task and returns Ray's reference.
    items : iterable
        Taken as tasks are done.
    in_flight : int
        Tasks at a time.
    tries : int
        Of an item whose task was lost.

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
    """Whether Ray lost a task, and not the task raised an error."""
    from ray.exceptions import RayError

    return isinstance(error, RayError)


def in_a_line(error: BaseException) -> str:
    """Name an error in one short line; those of Ray go over many."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
