"""One scan explained by several processes, each on a device of its own: they share its regions."""

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

    Every process calls the same explainer with the same model, scan and target, on a device of its own,
    and gets the whole map. Each scores every ``n``-th region; the scores are those of one process: on
    the CPU, and wherever else a region's score does not depend on its batch, to the last bit.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        Default: all processes. ``nccl`` for GPUs, ``gloo`` for the CPU.

    Raises
    ------
    ValueError
        If ``torch.distributed`` has not been initialised.
    """
    dist = torch.distributed
    if not dist.is_available() or not dist.is_initialized():
        raise ValueError(
            "sharing needs torch.distributed.init_process_group() first, in every process (torchrun)"
        )
    token = _GROUP.set(dist.group.WORLD if group is None else group)
    try:
        yield
    finally:
        _GROUP.reset(token)


def is_shared() -> bool:
    """Whether regions are shared among processes here."""
    return _GROUP.get() is not None


def score_shared(
    regions: Regions, score_part: Callable[[Regions], Tensor], advance: Callable[[int], None]
) -> Tensor:
    """Score this process's share of the regions, and return the scores of all.

    Parameters
    ----------
    regions : Regions
        The same in every process.
    score_part : callable
        Scores some of them.
    advance : callable
        Told how many regions the other processes have done, once they have.

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
    # Bytes of disjoint places: their sum is exact for every type, the sign of zero included.
    dist.all_reduce(scores.view(torch.uint8), group=group)
    advance(len(scores) - len(part))
    return scores
