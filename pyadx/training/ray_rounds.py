"""Rounds of a cross-validation in parallel, on Ray: this machine's cores or GPUs, or a cluster."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pyadx.data.cohort.splits import Round, SplitPlan
from pyadx.data.inputs import PreparedScans
from pyadx.training.crossval import finished, round_folder
from pyadx.training.ray_session import check_ray, in_a_line, ray_results, ray_session
from pyadx.training.rounds import Hardware, Recipe, read_result, run_round

_TRIES = 6  # of a round whose worker was lost


def run_rounds_on_ray(
    folder: str | os.PathLike[str],
    plan: SplitPlan,
    scans: PreparedScans,
    recipe: Recipe,
    hardware: Hardware,
    *,
    address: str | None = None,
    workers: int | None = None,
    keep_models: bool = False,
    on_round: Callable[[dict[str, Any]], None] = lambda result: None,
) -> list[dict[str, Any]]:
    """Run the rounds that are not finished as tasks of Ray; return all results.

    A round whose worker is lost runs again and goes on after its last finished epoch, so ``folder`` must be
    one that all workers see. A round that fails does not end the others.

    Parameters
    ----------
    address : str, optional
        Of a running cluster; by default Ray is started on this machine and stopped at the end.
    workers : int, optional
        Rounds at a time on this machine; by default one per GPU, or per two cores.
    on_round : callable
        Told the result of each round as it comes in.

    Raises
    ------
    ValueError
        If Ray is not installed.
    OSError
        If rounds failed, once all others are finished.
    """
    folder = Path(folder)
    check_ray("--parallel ray")
    gpus = torch.cuda.device_count() if hardware.accelerator in ("auto", "cuda", "gpu") else 0
    at_once = workers or gpus or max(1, (os.cpu_count() or 1) // 2)
    threads = max(1, (os.cpu_count() or 1) // at_once)
    with ray_session(address, at_once) as ray:
        shared = ray.put(scans)
        task = ray.remote(max_retries=0, num_cpus=1, num_gpus=min(1, gpus))(_work)

        def submit(one: Round) -> Any:
            own = round_folder(folder, one.name).resolve()
            return task.remote(own, one, shared, recipe, hardware, threads, keep_models)

        todo = [one for one in plan.rounds if read_result(round_folder(folder, one.name)) is None]
        failed: list[tuple[Round, BaseException]] = []
        for one, result in ray_results(ray, submit, todo, len(todo), _TRIES):
            if isinstance(result, BaseException):
                failed.append((one, result))
            else:
                on_round(result)
    if failed:
        first, error = failed[0]
        reason = f"{first.name} ({in_a_line(error)})"
        raise OSError(
            f"{len(failed)} of {len(plan.rounds)} rounds failed, such as {reason}; the others are "
            "finished, and --resume goes on with these"
        )
    return finished(folder, plan)


def _work(
    folder: Path,
    one: Round,
    scans: PreparedScans,
    recipe: Recipe,
    hardware: Hardware,
    threads: int,
    keep_model: bool,
) -> dict[str, Any]:
    torch.set_num_threads(threads)
    return run_round(folder, one, scans, recipe, hardware, keep_model=keep_model)
