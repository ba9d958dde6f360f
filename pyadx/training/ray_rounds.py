"""Parallel rounds of a cross-validation on Ray: on this machine's cores or GPUs, or on a cluster."""

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

_TRIES = 6  # how often a round is started whose worker is lost each time


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
    """Run the unfinished rounds as tasks of Ray.

    A round is run again if its worker is lost, and continues after its last finished epoch. All workers
    must therefore see ``folder``. If a round fails, the others still run.

    Parameters
    ----------
    folder : path
        Folder of the cross-validation; see `pyadx.training.crossval.round_folder`.
    plan : SplitPlan
        The rounds.
    scans : PreparedScans
        Scans of all subjects of the plan.
    recipe, hardware : Recipe, Hardware
        What to train, and on what.
    address : str, optional
        Address of a running cluster. By default Ray is started on this machine and stopped at the end.
    workers : int, optional
        Number of rounds that run at the same time on this machine; by default one per GPU or, without a
        GPU, one per two cores.
    keep_models : bool
        Write the checkpoint of each round.
    on_round : callable
        Called with the result of each round when it finishes.

    Returns
    -------
    list of dict
        Results of all rounds, in the order of the plan; see `pyadx.training.run_round`.

    Raises
    ------
    ValueError
        If Ray is not installed.
    OSError
        If Ray can no longer be reached, or rounds failed; in the second case after all others have
        finished.
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
            "finished. --resume runs the failed ones again"
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
