"""What is linear behind the last ReLU is one inner product per class, and changes no score."""

import pytest
import torch
from networks import lively
from torch import nn

from pyadx import models
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.incremental.linear_tail import LinearTail

GRID = (18, 20, 17)


class Residual(nn.Module):
    """Ends in a sum of two branches, of which one skips the last ReLU."""

    def __init__(self, last=None):
        super().__init__()
        self.first = nn.Conv3d(1, 6, 3, 2, 1)
        self.norm = nn.BatchNorm3d(6)
        self.second = nn.Conv3d(6, 6, 3, 1, 1)
        self.last = last or nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 2))

    def forward(self, x):
        skipped = self.first(x)
        return self.last(skipped - self.second(torch.relu(self.norm(skipped))))


TAILS = {
    "flattened": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6 * 9 * 10 * 9, 3)),
    "mean": lambda: nn.Sequential(
        nn.AvgPool3d(2, 2), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 5),
    ),
    "resized": lambda: nn.Sequential(
        nn.Upsample(scale_factor=2, mode="trilinear"), nn.Conv3d(6, 4, 3, groups=2), nn.BatchNorm3d(4),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2),
    ),
    "transposed": lambda: nn.Sequential(
        nn.ConvTranspose3d(6, 4, 3, 2), nn.ConstantPad3d(1, 0.5), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(4, 2),
    ),
}  # fmt: skip


def tails(scorer):
    return [step for step in scorer.lowered.furthest.steps if isinstance(step, LinearTail)]


def boxes_of(generator, count=24):
    low = torch.stack([torch.randint(-2, n - 1, (count,), generator=generator) for n in GRID], 1)
    boxes = torch.cat([low, low + torch.randint(1, 8, (count, 3), generator=generator)], 1)
    boxes[0] = torch.tensor([0, 0, 0, *GRID])
    return boxes


def agree(model, scan, boxes, bound, **options):
    scorer = IncrementalScorer(model, scan, 1, score="logit", **options)
    actual = scorer.score(boxes)
    expected = FullScorer(model.double(), scan.double(), 1, score="logit").score(boxes)
    assert expected.abs().max() > 0
    assert (actual - expected).abs().max() < bound * expected.abs().max()
    return scorer


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", TAILS)
def test_scores_are_those_of_full_forwards(name, dtype, generator):
    torch.manual_seed(0)
    model = lively(Residual(TAILS[name]()), torch.rand(2, 1, *GRID)).to(dtype)
    scan = torch.rand(1, *GRID, generator=generator, dtype=dtype)
    scorer = agree(model, scan, boxes_of(generator), 1e-10 if dtype == torch.float64 else 1e-5)
    (tail,) = tails(scorer)
    assert len(tail.inputs) == 2  # the ReLU, and what skips it


def test_the_last_convolution_of_resnet_gap_is_left_out(generator):
    model = models.build("resnet-gap", in_shape=GRID).double()
    lively(model, torch.rand(2, 1, *GRID, dtype=torch.float64))
    scan = torch.rand(1, *GRID, generator=generator, dtype=torch.float64)
    scorer = agree(model, scan, boxes_of(generator), 1e-10)
    (tail,) = tails(scorer)
    names = [type(step).__name__ for step in tail.steps]
    assert names == ["Convolution", "Sum", "GlobalAverage", "Reshape", "Linear"]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_score_has_the_same_bytes_in_any_batch(batch_size, generator):
    torch.manual_seed(0)
    model = lively(Residual(), torch.rand(2, 1, *GRID))
    scan = torch.rand(1, *GRID, generator=generator)
    boxes = boxes_of(generator)
    expected = IncrementalScorer(model, scan, 1).score(boxes)
    assert torch.equal(IncrementalScorer(model, scan, 1, batch_size=batch_size).score(boxes), expected)


def test_nothing_is_folded_where_a_relu_comes_last_or_nothing_is_saved(generator):
    scan = torch.rand(1, *GRID, generator=generator)
    relu = Residual(nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 2)))
    assert not tails(IncrementalScorer(relu.eval(), scan, 1))
    many = Residual(nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 400)))
    assert not tails(IncrementalScorer(many.eval(), scan, 1))


def test_steps_are_kept_in_inference_mode_which_has_no_gradients(generator):
    torch.manual_seed(0)
    model = lively(Residual(), torch.rand(2, 1, *GRID)).double()
    scan = torch.rand(1, *GRID, generator=generator, dtype=torch.float64)
    boxes = boxes_of(generator)
    expected = IncrementalScorer(model, scan, 1).score(boxes)
    with torch.inference_mode():
        scorer = IncrementalScorer(model, scan, 1)
        actual = scorer.score(boxes)
    assert not tails(scorer)
    assert (actual - expected).abs().max() < 1e-10 * expected.abs().max()


def test_the_tail_follows_a_baseline_that_moves(generator):
    torch.manual_seed(0)
    model = lively(Residual(), torch.rand(2, 1, *GRID)).double()
    scan = torch.rand(1, *GRID, generator=generator, dtype=torch.float64)
    scorer = IncrementalScorer(model, scan, 1, score="logit")
    scorer.commit(scorer.regions(torch.tensor([[2, 3, 4, 8, 9, 10]])))
    boxes = boxes_of(generator)
    moved = scan.clone()
    moved[:, 2:8, 3:9, 4:10] = 0
    expected = FullScorer(model, moved, 1, score="logit").score(boxes)
    assert (scorer.score(boxes) - expected).abs().max() < 1e-10 * expected.abs().max()
