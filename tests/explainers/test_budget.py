"""A time budget bounds the whole call: tracing, caching, the first forward and the last slice count."""

import time
import warnings
from contextlib import contextmanager

import pytest
import torch
from networks import Gap, randomised
from paper_methods import Occlusion

from pyadx.explainers.coarse_to_fine import coarse_to_fine
from pyadx.explainers.windows import WindowGrid
from pyadx.inference.regions import distinct_regions

SHAPE = (25, 26, 27)


class Clock:
    """Time that only passes when something is done."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class SlowScorer:
    """Every call takes ``call`` seconds, every region ``region``, the first region ``first`` more."""

    def __init__(self, clock, first, call, region, jitter=0.0):
        self.clock, self.first, self.call, self.region, self.jitter = clock, first, call, region, jitter
        self.random = torch.Generator().manual_seed(0)
        self.calls, self.progress = 0, False

    def score_regions(self, part, advance):
        spent = self.call + self.region * len(part.boxes)
        spent *= 1 + self.jitter * torch.rand(1, generator=self.random).item()
        self.clock.now += spent + (self.first if self.calls == 0 else 0)
        self.calls += 1
        advance(len(part.boxes))
        return torch.ones(len(part.boxes))


@pytest.fixture(scope="module")
def windows():
    grid = WindowGrid(SHAPE, (3, 3, 3), (1, 1, 1))
    return grid, distinct_regions(torch.rand(1, *SHAPE) + 1, grid.boxes(), torch.zeros(()))


@pytest.mark.parametrize("first", [0.0, 2.0])
@pytest.mark.parametrize("call", [0.0, 0.03, 0.4])
@pytest.mark.parametrize("region", [0.005, 0.3])
@pytest.mark.parametrize("jitter", [0.0, 0.8])
@pytest.mark.parametrize("budget", [20.0, 30.0])
def test_the_last_slice_ends_in_time_and_the_time_is_used(windows, first, call, region, jitter, budget):
    grid, regions = windows
    clock = Clock()
    started = clock.now
    clock.now += 2.5  # what tracing took
    scorer = SlowScorer(clock, first, call, region, jitter)
    _, scored = coarse_to_fine(scorer, grid, regions, budget, clock, started)
    spent = clock.now - started
    assert spent <= budget
    # Less time is left than two slices may take: these are meant to take a second, or hold one region.
    slices = 2 * (1 + jitter) * max(min(1.0, 0.05 * budget), call + region)
    assert scored == len(regions.boxes) or spent > budget - slices - 1e-6


def test_what_no_budget_suffices_for_is_27_windows_at_most(windows):
    grid, regions = windows
    clock = Clock()
    scores, scored = coarse_to_fine(SlowScorer(clock, 0, 0, 60.0), grid, regions, 1.0, clock)
    assert 0 < scored <= 27
    assert (scores > 0).all()  # the others are interpolated


def test_the_bar_counts_the_seconds_of_the_budget(windows, monkeypatch):
    grid, regions = windows
    bars = []

    @contextmanager
    def bar(*given):
        bars.append([given])
        yield bars[-1].append

    monkeypatch.setattr("pyadx.explainers.coarse_to_fine.progress_bar", bar)
    clock = Clock()
    started = clock.now
    clock.now += 2.5
    coarse_to_fine(SlowScorer(clock, 0, 0, 0.3), grid, regions, 19.5, clock, started)
    ((given, *steps),) = bars
    assert given == ("seconds of the budget", 20, False)
    assert sum(steps[:1]) == 3
    assert 17 <= sum(steps) <= 20  # the last slice that fits ends before the budget does
    assert min(steps) >= 0


class Slow(torch.nn.Module):
    """Forwards of 30 ms, the first one of 400 ms."""

    def __init__(self):
        super().__init__()
        self.inner, self.calls = Gap(), 0

    def forward(self, volume):
        self.calls += 1
        time.sleep(0.4 if self.calls == 1 else 0.03 * len(volume))
        return self.inner(volume)


def slow():
    return randomised(Slow()).double().eval()


def test_a_slow_network_is_explained_within_its_budget(generator):
    model = slow()
    scan = torch.rand(1, 1, 24, 24, 24, generator=generator, dtype=torch.float64)
    budget = 4.0
    explain = Occlusion(model, 3, engine="full", budget_s=budget)
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explain.run(scan, target=1)
    assert time.monotonic() - started <= budget
    (report,) = found.reports
    assert report.budget_s == budget
    assert 0.5 * budget < report.seconds <= budget
    assert report.approximate
    assert report.scored > 30


def test_a_budget_that_is_too_short_is_told_with_its_figures(generator):
    scan = torch.rand(1, 1, 24, 24, 24, generator=generator, dtype=torch.float64)
    with pytest.warns(
        UserWarning, match=r"the budget of 0\.01 s was too short: .* 27 of 13,824 regions took"
    ):
        Occlusion(slow(), 3, engine="full", budget_s=0.01)(scan, target=1)
