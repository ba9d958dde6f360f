"""An approximate occlusion map within a time budget: coarse windows first, finer where it moves."""

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pyadx import ops
from pyadx.explainers.windows import WindowGrid
from pyadx.inference.regions import Regions
from pyadx.inference.scorer import Scorer
from pyadx.inference.sharding import is_shared

COARSEST = 8  # every eighth window along each axis is always scored
_FIRST_SLICE = 16  # windows that are scored before the clock is looked at again


def coarse_to_fine(
    scorer: Scorer,
    grid: WindowGrid,
    regions: Regions,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Tensor, int]:
    """Score some windows of a grid, and estimate the others.

    Every eighth window along each axis is scored, whatever it takes. Then the spacing is halved time
    after time; new windows are scored in order of how much the coarser map moves around them, until the
    time is up. A window that is not scored takes the linear interpolation of the coarser map.

    Parameters
    ----------
    scorer : Scorer
        Scores the windows.
    grid : WindowGrid
        All windows.
    regions : Regions
        What they come to; windows that change nothing are known to score zero.
    budget_s : float
        Seconds.
    clock : callable
        Tells the time in seconds.

    Returns
    -------
    scores : Tensor
        One per window, in the order of ``grid.boxes()``.
    scored : int
        How many distinct regions were scored.
    """
    if is_shared():
        raise ValueError("a time budget is for one process: the clocks of several differ")
    search = _Search(scorer, grid, regions, clock() + budget_s, clock)
    step = COARSEST
    search.score(search.lattice(step), deadline=False)
    estimate = search.values[search.lattice(step)]
    while step > 1:
        step //= 2
        finer = search.lattice(step)
        moving = _nearest(_local_range(estimate), finer.shape)
        guess = _interpolated(estimate, finer.shape)
        order = torch.argsort(moving.flatten(), descending=True, stable=True)
        search.score(finer.flatten()[order], deadline=True)
        known = search.known[finer]
        estimate = torch.where(known, search.values[finer], guess)
    return estimate.flatten(), search.scored


class _Search:
    """Which windows have been scored so far."""

    def __init__(
        self,
        scorer: Scorer,
        grid: WindowGrid,
        regions: Regions,
        until: float,
        clock: Callable[[], float],
    ) -> None:
        self._scorer, self._regions, self._until, self._clock = scorer, regions, until, clock
        self._indices = torch.arange(int(np.prod(grid.counts))).reshape(grid.counts)
        self._region = torch.from_numpy(regions.inverse)
        self.values = torch.zeros(len(self._region))
        self.known = self._region < 0
        self.scored = 0
        self._slice = _FIRST_SLICE

    def lattice(self, step: int) -> Tensor:
        """Return the indices of every ``step``-th window along each axis."""
        return self._indices[::step, ::step, ::step]

    def score(self, windows: Tensor, *, deadline: bool) -> None:
        """Score windows in order, until the time is up if there is a deadline."""
        wanted = self._region[windows.flatten()]
        wanted = wanted[~self.known[windows.flatten()]]
        _, first = np.unique(wanted.numpy(), return_index=True)
        queue = wanted[torch.from_numpy(np.sort(first))]
        scores = torch.full((len(self._regions.boxes),), torch.nan)
        while len(queue) and not (deadline and self._clock() >= self._until):
            now, queue = queue[: self._slice], queue[self._slice :]
            started = self._clock()
            part = self._regions.part(now.numpy())
            scores[now] = self._scorer.score_regions(part).float().cpu()
            self.scored += len(now)
            # About a second between two looks at the clock.
            seconds = max(1e-3, self._clock() - started)
            self._slice = int(np.clip(len(now) / seconds, _FIRST_SLICE, 4096))
        fresh = torch.where(self._region >= 0, scores[self._region.clamp(min=0)], torch.nan)
        done = ~fresh.isnan()
        self.values[done] = fresh[done]
        self.known |= done


def _local_range(values: Tensor) -> Tensor:
    """Largest minus smallest value among a window's neighbours."""
    padded = values[None, None]
    return (F.max_pool3d(padded, 3, 1, 1) + F.max_pool3d(-padded, 3, 1, 1))[0, 0]


def _nearest(values: Tensor, shape: torch.Size) -> Tensor:
    index = [torch.arange(n).div(2, rounding_mode="floor") for n in shape]
    return values[index[0]][:, index[1]][:, :, index[2]]


def _interpolated(values: Tensor, shape: torch.Size) -> Tensor:
    one = values.new_ones(1, 1)
    return ops.weighted_cam(values[None, None], one, tuple(shape), "none", [0.5] * 3, [0.0] * 3)[0]
