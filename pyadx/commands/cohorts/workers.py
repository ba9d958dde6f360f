"""Run many independent tasks, a few at a time: in this process, in local processes, or on Ray."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from pyadx.processes import Processes, processes
from pyadx.segmentation.threads import thread_count
from pyadx.training.ray_session import check_ray, is_of_ray, ray_results, ray_session

ENGINES = ("local", "ray")
_TRIES = 3  # attempts at a task whose worker was lost
_IN_FLIGHT = 2  # tasks per worker: enough to keep it busy, few enough to bound memory


@dataclass(frozen=True)
class Workers:
    """Where tasks run.

    Attributes
    ----------
    engine : {"local", "ray"}
        ``local``: in this process with one worker, in processes with more.
    count : int
        Tasks at a time.
    address : str, optional
        Address of a running Ray cluster.
    gpus : int
        GPUs per task, on Ray.
    cpus : int, optional
        Cores per task. By default the tasks share this machine's cores; on a running cluster each task
        gets one core.
    cores : int, optional
        Cores that all tasks share; by default this machine's cores.
    session : Session, optional
        What several calls of `run_tasks` share (`session`).
    """

    engine: str = "local"
    count: int = 1
    address: str | None = None
    gpus: int = 0
    cpus: int | None = None
    cores: int | None = None
    session: "Session | None" = field(default=None, compare=False, repr=False)

    @property
    def threads(self) -> int:
        """Threads that a task may use."""
        if self.cpus is not None:
            return self.cpus
        return 1 if self.address is not None else max(1, thread_count(self.cores) // self.count)

    def at_most(self, tasks: int) -> "Workers":
        """Return workers, at most one per task, so that each of few tasks gets more cores."""
        return self if self.engine == "ray" else replace(self, count=max(1, min(self.count, tasks)))


def check_workers(workers: Workers) -> None:
    """Raise ``ValueError`` if there is no such engine, or Ray is not installed."""
    if workers.engine not in ENGINES:
        raise ValueError(f"--engine must be one of {', '.join(ENGINES)}, got {workers.engine!r}")
    if workers.count < 1:
        raise ValueError(f"--workers must be at least 1, got {workers.count}")
    if workers.cpus is not None and workers.cpus < 1:
        raise ValueError(f"--cpus must be at least 1, got {workers.cpus}")
    if workers.gpus < 0:
        raise ValueError(f"--gpus must not be negative, got {workers.gpus}")
    if workers.engine == "local" and workers.address is not None:
        raise ValueError("--ray-address belongs to --engine ray")
    if workers.engine == "ray":
        check_ray("--engine ray")


class Session:
    """What several calls of `run_tasks` share: processes, or a session of Ray.

    Parameters
    ----------
    workers : Workers
        What to start.
    stack : contextlib.ExitStack
        Stops it.
    """

    def __init__(self, workers: Workers, stack: ExitStack) -> None:
        self._workers, self._stack = workers, stack
        self._open: Any = None

    def open(self) -> Any:
        """Return `Processes`, or the module ``ray``; the first call starts it."""
        if self._open is None:
            count, threads = self._workers.count, self._workers.threads
            ray = self._workers.engine == "ray"
            self._open = self._stack.enter_context(
                ray_session(self._workers.address, count * threads)
                if ray
                else processes(count, _start, threads)
            )
        return self._open

    def close(self) -> None:
        """Stop what was started; `open` starts it anew."""
        self._open = None
        self._stack.close()


@contextmanager
def session(workers: Workers) -> Iterator[Workers]:
    """Return workers that share their processes among all calls of `run_tasks` in the block.

    Starting processes takes seconds, because each one imports torch.
    """
    if workers.session is not None:
        yield workers
        return
    with ExitStack() as stack:
        yield replace(workers, session=Session(workers, stack))


def run_tasks(
    work: Callable[[Any], Any], items: Iterable[Any], workers: Workers
) -> Iterator[tuple[Any, Any | BaseException]]:
    """Yield each item, when it is done, with its result or with the error by which its worker was lost.

    Parameters
    ----------
    work : callable
        Importable function without side effects other than its output, because it may run twice: a
        task whose worker is lost is tried three times in all. An exception that it raises ends the run.
    items : iterable
        Arguments of the tasks, taken as workers become free.
    workers : Workers
        Where.
    """
    check_workers(workers)
    if workers.engine == "local" and workers.count == 1:
        if workers.cpus is not None or workers.cores is not None:
            _start(workers.threads)
        for item in items:
            yield item, work(item)
        return
    run = _on_ray if workers.engine == "ray" else _in_processes
    with session(workers) as shared:
        assert shared.session is not None
        yield from run(work, iter(items), shared, shared.session)


def _in_processes(
    work: Callable[[Any], Any], items: Iterator[Any], workers: Workers, shared: Session
) -> Iterator[tuple[Any, Any | BaseException]]:
    while lost := (yield from _until_lost(shared.open(), work, items, workers)):
        shared.close()
        # One lost process breaks the whole pool, and the pool does not say which task did it. Running
        # the tasks one by one finds the task that kills its worker.
        for item in lost:
            yield item, _alone(work, item, workers)


def _until_lost(
    pool: Processes, work: Callable[[Any], Any], items: Iterator[Any], workers: Workers
) -> Generator[tuple[Any, Any], None, list[Any]]:
    """Yield results until all are there or a process is lost; return the tasks without result."""
    open_: dict[Future[Any], Any] = {}
    lost: list[Any] = []
    while not lost:
        for item in islice(items, _IN_FLIGHT * workers.count - len(open_)):
            try:
                open_[pool.submit(work, item)] = item
            except BrokenProcessPool:
                lost.append(item)
                break
        if not open_:
            return lost
        done, _ = wait(open_, return_when=FIRST_COMPLETED)
        if lost or any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            done, _ = wait(open_)
        for future in done:
            item = open_.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                lost.append(item)
            else:
                yield item, future.result()
    return lost


def _alone(work: Callable[[Any], Any], item: Any, workers: Workers) -> Any | BaseException:
    lost: BaseException = RuntimeError("its worker was lost")
    for _ in range(_TRIES):
        try:
            with processes(1, _start, workers.threads) as pool:
                return pool.submit(work, item).result()
        except BrokenProcessPool as error:
            lost = error
    return lost


def _start(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _on_ray(
    work: Callable[[Any], Any], items: Iterator[Any], workers: Workers, shared: Session
) -> Iterator[tuple[Any, Any | BaseException]]:
    threads = workers.threads

    def remote(item: Any) -> Any:
        _start(threads)
        return work(item)

    ray = shared.open()
    task = ray.remote(num_cpus=threads, num_gpus=workers.gpus, max_retries=0)(remote)
    for item, result in ray_results(ray, task.remote, items, _IN_FLIGHT * workers.count, _TRIES):
        if isinstance(result, Exception) and not is_of_ray(result):
            raise result
        yield item, result
