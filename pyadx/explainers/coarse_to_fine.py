"""An approximate occlusion map within a time budget: a coarse grid first, finer where the map varies."""

import math
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pyadx import ops
from pyadx.explainers.windows import WindowGrid
from pyadx.inference.progress import progress_bar
from pyadx.inference.regions import Regions
from pyadx.inference.scorer import Scorer
from pyadx.inference.sharding import is_shared

COARSEST = 8  # the first grid has every eighth window along each axis, or fewer; it is always scored
_FEW = 27  # windows of the first grid, at most
_SLICE_SECONDS = 1.0  # longest time between two looks at the clock
_SLICE_SHARE = 0.05  # the same, as a share of the budget
_SLICE_MARGIN = 2.0  # a slice may take this many times longer than predicted and still ends in time
_LARGEST_SLICE = 4096  # regions
_MAP_MARGIN = 2.0  # time reserved for making the map, as a multiple of the time measured for it


def coarse_to_fine(
    scorer: Scorer,
    grid: WindowGrid,
    regions: Regions,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
    started: float | None = None,
) -> tuple[Tensor, int]:
    """Score some windows of a grid, and estimate the others.

    The windows of a coarse grid, at most 27, are scored however long that takes. Then the spacing is halved
    again and again. New windows are scored where the coarser map varies most first, as long as the next
    ones are predicted to finish in time. Windows that are not scored are interpolated linearly from the
    coarser map.

    Parameters
    ----------
    scorer : Scorer
        Scores the windows.
    grid : WindowGrid
        All windows.
    regions : Regions
        The distinct regions of the windows. Windows that change no voxel score 0.
    budget_s : float
        Time in seconds until the map is finished.
    clock : callable
        Returns the time in seconds.
    started : float, optional
        Time on that clock at which the budget began; by default now.

    Returns
    -------
    scores : Tensor
        One per window, in the order of ``grid.boxes()``.
    scored : int
        How many distinct regions were scored.

    Raises
    ------
    ValueError
        If the scores are shared among several processes.
    """
    if is_shared():
        raise ValueError(
            "a time budget needs a single process, since the clocks of several differ; leave out budget_s"
        )
    until = budget_s + (clock() if started is None else started)
    until -= _MAP_MARGIN * _seconds_of_map(grid, clock)
    with progress_bar("seconds of the budget", math.ceil(budget_s), scorer.progress) as advance:
        told = _Seconds(math.ceil(budget_s), until, clock, advance)
        slice_s = min(_SLICE_SECONDS, _SLICE_SHARE * budget_s)
        return _estimate(_Search(scorer, grid, regions, until, slice_s, clock, told), grid)


def _estimate(search: "_Search", grid: WindowGrid) -> tuple[Tensor, int]:
    step = _coarsest(grid)
    search.score(search.lattice(step), deadline=False)
    estimate = search.values[search.lattice(step)]
    while step > 1:
        step //= 2
        finer = search.lattice(step)
        guess = _interpolated(estimate, finer.shape)
        if search.has_time():
            search.score(finer.flatten()[_moving_first(estimate, finer.shape)], deadline=True)
        known = search.known[finer]
        estimate = torch.where(known, search.values[finer], guess)
    return estimate.flatten(), search.scored


class _Seconds:
    """Moves a progress bar by the seconds that have passed, since nobody knows how many regions fit."""

    def __init__(
        self, total: int, until: float, clock: Callable[[], float], advance: Callable[[int], None]
    ) -> None:
        self._total, self._until, self._clock, self._advance = total, until, clock, advance
        self._told = 0

    def __call__(self, regions: int) -> None:
        left = max(0, math.ceil(self._until - self._clock()))
        passed = max(self._told, self._total - left)
        self._advance(passed - self._told)
        self._told = passed


def _coarsest(grid: WindowGrid) -> int:
    step = COARSEST
    while np.prod([-(-count // step) for count in grid.counts]) > _FEW:
        step *= 2
    return step


def _seconds_of_map(grid: WindowGrid, clock: Callable[[], float]) -> float:
    """Measure, on a map of zeros, how long the work after the last score takes."""
    started = clock()
    zeros = torch.zeros(grid.counts)
    coarse = zeros[::2, ::2, ::2].contiguous()
    _moving_first(coarse, zeros.shape)
    grid.paint(_interpolated(coarse, zeros.shape).flatten())
    return clock() - started


class _Search:
    """The windows that have been scored so far, and how long that took."""

    def __init__(
        self,
        scorer: Scorer,
        grid: WindowGrid,
        regions: Regions,
        until: float,
        slice_s: float,
        clock: Callable[[], float],
        told: Callable[[int], None],
    ) -> None:
        self._scorer, self._regions, self._clock, self._told = scorer, regions, clock, told
        self._until, self._slice_s = until, slice_s
        self._indices = torch.arange(int(np.prod(grid.counts))).reshape(grid.counts)
        self._region = torch.from_numpy(regions.inverse)
        self.values = torch.zeros(len(self._region))
        self.known = self._region < 0
        self.scored = 0
        self._last: deque[tuple[int, float]] = deque(maxlen=4)  # regions and seconds of the last slices
        self._shortest = float("inf")  # seconds of the fastest slice

    def lattice(self, step: int) -> Tensor:
        """Return the indices of every ``step``-th window along each axis."""
        return self._indices[::step, ::step, ::step]

    def has_time(self) -> bool:
        """Whether one more slice is predicted to finish in time."""
        return self._slice() > 0

    def score(self, windows: Tensor, *, deadline: bool) -> None:
        """Score windows in the given order; with a deadline, until the time is up."""
        wanted = self._region[windows.flatten()]
        wanted = wanted[~self.known[windows.flatten()]]
        _, first = np.unique(wanted.numpy(), return_index=True)
        queue = wanted[torch.from_numpy(np.sort(first))]
        scores = torch.full((len(self._regions.boxes),), torch.nan)
        while len(queue):
            # The very first region is slower than all others, so it is scored and timed by itself.
            count = self._slice() if deadline else 1 if self.scored == 0 else len(queue)
            if count == 0:
                break
            now, queue = queue[:count], queue[count:]
            scores[now] = self._score(now)
        fresh = torch.where(self._region >= 0, scores[self._region.clamp(min=0)], torch.nan)
        done = ~fresh.isnan()
        self.values[done] = fresh[done]
        self.known |= done

    def _score(self, now: Tensor) -> Tensor:
        started = self._clock()
        part = self._regions.part(now.numpy())
        scores = self._scorer.score_regions(part, advance=self._told).float().cpu()
        seconds = max(1e-6, self._clock() - started)
        if self.scored == 1:
            self._last.clear()  # its time does not predict that of others
        self._last.append((len(now), seconds))
        self._shortest = min(seconds, self._shortest)
        self.scored += len(now)
        return scores

    def _slice(self) -> int:
        """Return how many regions to score before the next look at the clock; 0 if no time is left."""
        left = self._until - self._clock()
        if not self._last:
            return 1 if left > 0 else 0
        per_region = max(seconds / count for count, seconds in self._last)
        count = int(np.clip(self._slice_s / per_region, 1, _LARGEST_SLICE))
        # A call costs a fixed time plus a time per region. Neither bound below is less than their sum.
        longest = min(
            max(seconds * max(1.0, count / other) for other, seconds in self._last),
            per_region * count + self._shortest,
        )
        return count if left > _SLICE_MARGIN * longest else 0


def _moving_first(coarse: Tensor, finer: torch.Size) -> Tensor:
    """Return the indices of the finer windows; those where the coarser map varies most come first."""
    moving = _nearest(_local_range(coarse), finer)
    return torch.argsort(moving.flatten(), descending=True, stable=True)


def _local_range(values: Tensor) -> Tensor:
    """Return the largest minus the smallest value among each window and its neighbours."""
    padded = values[None, None]
    return (F.max_pool3d(padded, 3, 1, 1) + F.max_pool3d(-padded, 3, 1, 1))[0, 0]


def _nearest(values: Tensor, shape: torch.Size) -> Tensor:
    index = [torch.arange(n).div(2, rounding_mode="floor") for n in shape]
    return values[index[0]][:, index[1]][:, :, index[2]]


def _interpolated(values: Tensor, shape: torch.Size) -> Tensor:
    one = values.new_ones(1, 1)
    return ops.weighted_cam(values[None, None], one, tuple(shape), "none", [0.5] * 3, [0.0] * 3)[0]
