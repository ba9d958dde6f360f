"""An approximate occlusion map within a time budget: coarse windows first, finer where it moves."""

import time
from collections import deque
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

COARSEST = 8  # every eighth window along each axis, or fewer, are always scored
_FEW = 27  # windows of the coarsest grid, at most
_SLICE_SECONDS = 1.0  # between two looks at the clock, at most
_SLICE_SHARE = 0.05  # of the budget
_SLOWER = 2.0  # times the last slices: the next one may be so much slower and still ends in time
_LARGEST_SLICE = 4096
_REST = 2.0  # times what the rest took when it was tried out at the beginning


def coarse_to_fine(
    scorer: Scorer,
    grid: WindowGrid,
    regions: Regions,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
    started: float | None = None,
) -> tuple[Tensor, int]:
    """Score some windows of a grid, and estimate the others.

    At most 27 windows of a coarse grid are scored, whatever it takes. Then the spacing is halved time
    after time; new windows are scored in order of how much the coarser map moves around them, as long as
    the next ones are expected to be done in time. A window that is not scored takes the linear
    interpolation of the coarser map.

    Parameters
    ----------
    scorer : Scorer
        Scores the windows.
    grid : WindowGrid
        All windows.
    regions : Regions
        What they come to; windows that change nothing are known to score zero.
    budget_s : float
        Seconds until the map is painted.
    clock : callable
        Tells the time in seconds.
    started : float, optional
        When the budget began, as the clock told it; by default now.

    Returns
    -------
    scores : Tensor
        One per window, in the order of ``grid.boxes()``.
    scored : int
        How many distinct regions were scored.
    """
    if is_shared():
        raise ValueError("a time budget is for one process: the clocks of several differ")
    until = budget_s + (clock() if started is None else started)
    until -= _REST * _seconds_of_the_rest(grid, clock)
    slice_s = min(_SLICE_SECONDS, _SLICE_SHARE * budget_s)
    search = _Search(scorer, grid, regions, until, slice_s, clock)
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


def _coarsest(grid: WindowGrid) -> int:
    step = COARSEST
    while np.prod([-(-count // step) for count in grid.counts]) > _FEW:
        step *= 2
    return step


def _seconds_of_the_rest(grid: WindowGrid, clock: Callable[[], float]) -> float:
    """Measure what follows the last scores, on a map of zeros."""
    started = clock()
    zeros = torch.zeros(grid.counts)
    coarse = zeros[::2, ::2, ::2].contiguous()
    _moving_first(coarse, zeros.shape)
    grid.paint(_interpolated(coarse, zeros.shape).flatten())
    return clock() - started


class _Search:
    """Which windows have been scored so far."""

    def __init__(
        self,
        scorer: Scorer,
        grid: WindowGrid,
        regions: Regions,
        until: float,
        slice_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._scorer, self._regions, self._clock = scorer, regions, clock
        self._until, self._slice_s = until, slice_s
        self._indices = torch.arange(int(np.prod(grid.counts))).reshape(grid.counts)
        self._region = torch.from_numpy(regions.inverse)
        self.values = torch.zeros(len(self._region))
        self.known = self._region < 0
        self.scored = 0
        self._last: deque[tuple[int, float]] = deque(maxlen=4)  # slices: regions and seconds
        self._shortest = float("inf")  # of all slices, seconds

    def lattice(self, step: int) -> Tensor:
        """Return the indices of every ``step``-th window along each axis."""
        return self._indices[::step, ::step, ::step]

    def has_time(self) -> bool:
        """Whether one more slice is expected to be done in time."""
        return self._slice() > 0

    def score(self, windows: Tensor, *, deadline: bool) -> None:
        """Score windows in order, until the time is up if there is a deadline."""
        wanted = self._region[windows.flatten()]
        wanted = wanted[~self.known[windows.flatten()]]
        _, first = np.unique(wanted.numpy(), return_index=True)
        queue = wanted[torch.from_numpy(np.sort(first))]
        scores = torch.full((len(self._regions.boxes),), torch.nan)
        while len(queue):
            # The first region of all is slower than others; alone it is no measure for them.
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
        scores = self._scorer.score_regions(self._regions.part(now.numpy())).float().cpu()
        seconds = max(1e-6, self._clock() - started)
        if self.scored == 1:
            self._last.clear()  # the first region of all says little
        self._last.append((len(now), seconds))
        self._shortest = min(seconds, self._shortest)
        self.scored += len(now)
        return scores

    def _slice(self) -> int:
        """Return how many regions to score before the clock is looked at again; 0 if none fits."""
        left = self._until - self._clock()
        if not self._last:
            return 1 if left > 0 else 0
        per_region = max(seconds / count for count, seconds in self._last)
        count = int(np.clip(self._slice_s / per_region, 1, _LARGEST_SLICE))
        # A call and its regions take some time each. Both of these are never less than the sum.
        longest = min(
            max(seconds * max(1.0, count / other) for other, seconds in self._last),
            per_region * count + self._shortest,
        )
        return count if left > _SLOWER * longest else 0


def _moving_first(coarse: Tensor, finer: torch.Size) -> Tensor:
    """Return the finer windows, those first around which the coarser map moves most."""
    moving = _nearest(_local_range(coarse), finer)
    return torch.argsort(moving.flatten(), descending=True, stable=True)


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
