"""Share the regions of one scan among several processes, each on its own device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from pyadx.inference.regions import Regions

_GROUP: ContextVar[Any] = ContextVar("pyadx_process_group", default=None)


@contextmanager
def shared_among_processes(group: Any = None) -> Iterator[None]:
    """Let occlusion explainers share every scan's regions among the processes of a group.

    All ``n`` processes call the same explainer with the same model, scan and target, each on its own
    device. Each scores every ``n``-th region, and each gets the whole map. On the CPU, and on any device
    where a region's score does not depend on its batch, the scores equal those of a single process bit
    for bit.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        Default: all processes. Use the ``nccl`` backend for GPUs and ``gloo`` for the CPU.

    Raises
    ------
    ValueError
        If ``torch.distributed`` has not been initialised.
    """
    dist = torch.distributed
    if not dist.is_available() or not dist.is_initialized():
        raise ValueError(
            "torch.distributed is not initialised: start every process with torchrun and call "
            "torch.distributed.init_process_group() before shared_among_processes()"
        )
    token = _GROUP.set(dist.group.WORLD if group is None else group)
    try:
        yield
    finally:
        _GROUP.reset(token)


def is_shared() -> bool:
    """Whether this code runs inside `shared_among_processes`."""
    return _GROUP.get() is not None


def score_shared(
    regions: Regions, score_part: Callable[[Regions], Tensor], advance: Callable[[int], None]
) -> Tensor:
    """Score this process's share of the regions, and return the scores of all regions.

    Parameters
    ----------
    regions : Regions
        The same in every process.
    score_part : callable
        Scores some of the regions.
    advance : callable
        Called with the number of regions that the other processes scored, after they have finished.

    Returns
    -------
    Tensor
        ``[R]``.
    """
    dist = torch.distributed
    group = _GROUP.get()
    own = slice(dist.get_rank(group), None, dist.get_world_size(group))
    part = score_part(regions.part(own))
    scores = part.new_zeros(len(regions.boxes))
    scores[own] = part
    # Each score is non-zero in one process only. The sum of bytes is then exact for every dtype, and keeps
    # the sign of zero.
    dist.all_reduce(scores.view(torch.uint8), group=group)
    advance(len(scores) - len(part))
    return scores
