"""Lines that networks have for their authors' sake cost nothing: boxes go through them, exactly."""

import einops
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import lively
from torch import nn

from pyadx.inference import FullScorer, IncrementalScorer

SHAPE = (20, 18, 22)
MASK = torch.from_numpy(np.random.default_rng(0).random(SHAPE) > 0.3)


def shuffled(x):
    """Channels in groups change places, as ShuffleNet has it."""
    batch, channels, *size = x.shape
    return x.view(batch, 2, channels // 2, *size).transpose(1, 2).reshape(batch, channels, *size)


LINES = {
    "float": lambda x: x.float().to(x.dtype),
    "double": lambda x: x.double().mul(2).to(x.dtype),
    "to itself": lambda x: x.to(x.dtype).to(x.device).type_as(x),
    "brain mask": lambda x: x * MASK,
    "mask of floats, added": lambda x: x + MASK[None, None].to(x.dtype) / 3,
    "divided by a profile": lambda x: x / torch.linspace(1, 2, SHAPE[2], dtype=x.dtype),
    "where": lambda x: torch.where(x > 0.1, x, 0.2 * x),
    "where in the brain": lambda x: torch.where(MASK, x, torch.zeros_like(x)),
    "two comparisons": lambda x: x * ((x > 0.1) & (x < 0.9)).to(x.dtype),
    "crop": lambda x: x[..., 2:-2],
    "crop of all axes": lambda x: x[:, :, 1:, :-3, 4:15],
    "flip": lambda x: x.flip(-1),
    "flip of two axes": lambda x: torch.flip(x, (2, 4)),
    "half of the channels": lambda x: x[:, ::2],
    "chunk": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "split": lambda x: x.split([1, 3], 1)[1],
    "channel shuffle": shuffled,
    "torch's channel shuffle": lambda x: torch.channel_shuffle(x, 2),
    "channels mirrored": lambda x: x.flip(1),
    "hardswish": F.hardswish,
    "log sigmoid": F.logsigmoid,
    "gated": lambda x: F.glu(x, 1),
    "softmax over channels": lambda x: x.softmax(1),
    "weighted by a map": lambda x: x * x[:, :1].sigmoid(),
    "leaky in evaluation": lambda x: F.rrelu(x, training=False),
    "alpha dropout": lambda x: F.alpha_dropout(x, training=False),
    "in place": lambda x: x.clone().mul_(MASK).clamp_(min=0.05),
    "expanded to itself": lambda x: x.expand(-1, 4, -1, -1, -1),
    "mean over channels": lambda x: x * x.mean(1, keepdim=True),
    "gate of channel mean and maximum": lambda x: (
        x * torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1).sum(1, keepdim=True).sigmoid()
    ),
    "data": lambda x: torch.cat([x.data, torch.zeros(x.size(0), 2, *x.shape[2:]).to(x.dtype)], 1),
    "twice as large": lambda x: F.interpolate(x, scale_factor=2),
    "nearest to a size": lambda x: F.interpolate(x, (13, 25, 22)),
    "nearest, exact": lambda x: F.interpolate(x, (13, 25, 30), mode="nearest-exact"),
    "trilinear": lambda x: F.interpolate(x, (17, 31, 22), mode="trilinear"),
    "trilinear by factors": lambda x: F.interpolate(x, scale_factor=(1.5, 0.6, 1.3), mode="trilinear"),
    "trilinear by the factor itself": lambda x: F.interpolate(
        x, scale_factor=1.45, mode="trilinear", recompute_scale_factor=True
    ),
    "trilinear, corners aligned": lambda x: F.interpolate(
        x, (25, 9, 40), mode="trilinear", align_corners=True
    ),
    "a few averages": lambda x: F.adaptive_avg_pool3d(x, (6, 5, 7)),
    "averages along an axis": lambda x: F.adaptive_avg_pool3d(x, (None, 9, None)),
    "replicated border": lambda x: F.pad(x, (1, 2, 0, 3, 2, 1), mode="replicate"),
    "reflected border": lambda x: F.pad(x, (3, 2, 0, 3, 4, 1), mode="reflect"),
    "circular border": lambda x: F.pad(x, (1, 2, 2, 0, 3, 1), mode="circular"),
    "every other cell": lambda x: x[..., ::2, 1::3],
    "space to depth": lambda x: (
        x.view(-1, 4, 10, 2, 9, 2, 11, 2).permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(-1, 32, 10, 9, 11)
    ),
    "space to depth, cells first": lambda x: (
        x.reshape(-1, 4, 10, 2, 6, 3, 22).permute(0, 5, 3, 1, 2, 4, 6).reshape(-1, 24, 10, 6, 22)
    ),
    "einops": lambda x: einops.rearrange(x, "b c (z i) (y j) (x k) -> b (i j k c) z y x", i=2, j=2, k=2),
    "axes that change places": lambda x: x.permute(0, 1, 4, 2, 3),
    "two axes that change places": lambda x: x.transpose(-1, 2),
}
LAYERS = {
    "PReLU": lambda: nn.PReLU(),
    "PReLU per channel": lambda: nn.PReLU(4),
    "transposed": lambda: nn.ConvTranspose3d(4, 5, 2, stride=2),
    "transposed, odd": lambda: nn.ConvTranspose3d(
        4, 6, (3, 4, 2), stride=(2, 1, 3), padding=(1, 2, 0), output_padding=(1, 0, 2), dilation=(2, 1, 1)
    ),
    "transposed in groups": lambda: nn.ConvTranspose3d(4, 4, 3, padding=1, groups=2),
    **{
        f"{mode} convolution": lambda mode=mode: nn.Conv3d(4, 5, 3, padding=1, padding_mode=mode)
        for mode in ("replicate", "reflect", "circular")
    },
    "upsampled": lambda: nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True),
}


class Around(nn.Module):
    """A line between two convolutions, and a pooled head."""

    def __init__(self, line):
        super().__init__()
        self.line = line
        self.before = nn.Conv3d(1, 4, 3, padding=1)
        self.after = nn.LazyConv3d(6, 3)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        x = F.relu(self.after(self.line(self.before(x))))
        return self.head(x.mean((2, 3, 4)))


@pytest.fixture(params=[*LINES, *LAYERS])
def model(request):
    torch.manual_seed(0)
    line = LAYERS[request.param]() if request.param in LAYERS else LINES[request.param]
    own = Around(line)
    own(torch.rand(1, 1, *SHAPE))
    return lively(own, torch.rand(2, 1, *SHAPE)).double().eval()


def test_boxes_go_through_exactly_also_when_the_baseline_moves(model, generator):
    scan = torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64)
    low = torch.stack([torch.randint(-2, n, (24,), generator=generator) for n in SHAPE], 1)
    boxes = torch.cat([low, low + torch.randint(1, 9, (24, 3), generator=generator)], 1)
    fast, slow = (S(model, scan, 1, score="logit", fill=0.3) for S in (IncrementalScorer, FullScorer))
    expected = slow.score(boxes)
    assert (fast.score(boxes) - expected).abs().max() < 1e-10 * expected.abs().max()
    assert fast.gain(np.array([[8, 8, 8, 11, 11, 11]])) > 5
    left = fast.lowered.furthest.plain
    assert not left, f"whole maps from {left[0]} on"
    regions = slow.regions(torch.tensor([[2, 3, 4, 9, 9, 9], [5, 5, 5, 14, 12, 20]]))
    assert torch.allclose(fast.commit(regions), slow.commit(regions), rtol=1e-10)
