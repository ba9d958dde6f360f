"""Incremental scores equal those of full forwards."""

import pytest
import torch
from networks import Gap, Plain, lively, randomised

from pyadx import models
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.incremental.trace import KeptTrace
from pyadx.ops import patches

# Non-cubic grids, as small as each network allows: name -> (network, channels, grid, boxes in CI)
OURS = {
    "vggnet": ((100, 102, 101), 6),
    "resnet": ((49, 50, 52), 8),
    "resnet-gap": ((21, 24, 18), 60),
    "resnet-shallow-gap": ((20, 17, 24), 60),
}
MONAI = {
    "DenseNet121": ({"spatial_dims": 3, "in_channels": 2, "out_channels": 3}, 2, (40, 36, 44), 16),
    "resnet18": ({"spatial_dims": 3, "n_input_channels": 1, "num_classes": 2}, 1, (30, 26, 33), 24),
    "resnet50": ({"spatial_dims": 3, "n_input_channels": 1, "num_classes": 2}, 1, (30, 26, 33), 12),
    "SEResNet50": ({"spatial_dims": 3, "in_channels": 1, "num_classes": 2}, 1, (34, 36, 33), 8),
    "EfficientNetBN": (
        {"model_name": "efficientnet-b0", "spatial_dims": 3, "in_channels": 1, "num_classes": 2,
         "pretrained": False}, 1, (34, 36, 33), 8,
    ),
}  # fmt: skip


def network(name):
    """A network with random weights and batch statistics, its channels, grid and number of boxes."""
    torch.manual_seed(1)
    if name in OURS:
        grid, boxes = OURS[name]
        model, channels = models.build(name, in_shape=grid), 1
    else:
        nets = pytest.importorskip("monai.networks.nets")
        options, channels, grid, boxes = MONAI[name]
        model = getattr(nets, name)(**options)
    return lively(model, torch.rand(2, channels, *grid)), channels, grid, boxes


def random_boxes(grid, count, generator):
    """Boxes of every kind: corners, edges, single voxels, larger than the volume, outside it."""
    size = torch.tensor(grid)
    low = torch.stack([torch.randint(-3, n, (count,), generator=generator) for n in grid], 1)
    high = low + torch.randint(1, 9, (count, 3), generator=generator)
    boxes = torch.cat([low, high], 1)
    special = torch.tensor([
        [0, 0, 0, 7, 7, 7], [*(size - 7), *size], [-9, -9, -9, *(size + 9)], [5, 6, 7, 6, 7, 8],
        [0, 0, 0, 1, 1, 1], [*(size - 1), *size], [*size, *(size + 4)], [3, 0, 0, 4, *size[1:]],
    ])  # fmt: skip
    chosen = min(count, len(special))
    boxes[:chosen] = special[:chosen]
    return boxes


def largest_difference(actual, expected):
    """Relative to the largest change of the score, as the claim of exactness is stated."""
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", [*OURS, *MONAI])
def test_float64_equals_full_forwards_to_ten_digits(name, generator):
    model, channels, grid, count = network(name)
    model = model.double()
    scan = torch.rand(channels, *grid, generator=generator, dtype=torch.float64)
    boxes = random_boxes(grid, count, generator)
    actual = IncrementalScorer(model, scan, 1, score="logit").score(boxes)
    expected = FullScorer(model, scan, 1, score="logit").score(boxes)
    assert expected.max() > 0
    assert largest_difference(actual, expected) < 1e-10


def convolve_whole_maps(self, x):
    """A convolution layer's forward through our kernel: torch's takes ten times as long in float64."""
    maps = x.permute(0, 2, 3, 4, 1).contiguous()
    triples = (self.stride, self.padding, self.dilation)
    reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
    sizes = zip(maps.shape[1:4], self.padding, reach, self.stride, strict=True)
    size = [(n + 2 * p - r - 1) // s + 1 for n, p, r, s in sizes]
    boxes, out_boxes = (torch.tensor([[0, 0, 0, *n]] * len(x)).int() for n in (maps.shape[1:4], size))
    out = maps.new_empty(len(x), *size, self.out_channels)
    weight = patches.pack_weight(self.weight, self.groups)
    patches.conv(maps, boxes, weight, *triples, out_boxes, None, out)
    return (out if self.bias is None else out + self.bias).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize("name", [*OURS, *MONAI])
def test_a_thousand_boxes(name, generator, monkeypatch):
    model, channels, grid, _ = network(name)
    model = model.double()
    scan = torch.rand(channels, *grid, generator=generator, dtype=torch.float64)
    boxes = random_boxes(grid, 1000, generator)
    actual = IncrementalScorer(model, scan, 1, score="logit").score(boxes)
    some = FullScorer(model, scan, 1, score="logit").score(boxes[:3])
    monkeypatch.setattr(torch.nn.Conv3d, "forward", convolve_whole_maps)
    expected = FullScorer(model, scan, 1, score="logit", batch_size=4).score(boxes)
    assert largest_difference(expected[:3], some) < 1e-11
    assert largest_difference(actual, expected) < 1e-10


@pytest.mark.parametrize("name", [*OURS, *MONAI])
def test_float32_equals_float64_to_five_digits_or_as_well_as_full_forwards_do(name, generator):
    """A change of the whole scan is no more exact than a forward in float32 is; windows are."""
    model, channels, grid, count = network(name)
    scan = torch.rand(channels, *grid, generator=generator)
    boxes = random_boxes(grid, count, generator)
    actual = IncrementalScorer(model, scan, 1, score="logit").score(boxes).double()
    full = FullScorer(model, scan, 1, score="logit").score(boxes).double()
    exact = IncrementalScorer(model.double(), scan.double(), 1, score="logit").score(boxes)
    assert largest_difference(actual, exact) < max(1e-5, 2 * largest_difference(full, exact))


@pytest.mark.parametrize(
    "name", ["resnet-gap", "resnet-shallow-gap", "DenseNet121", "resnet18", "resnet50"]
)
def test_boxes_reach_the_class_scores_in_these_networks(name, generator):
    """Nothing of them is left over for whole maps, if the plan is free to choose."""
    model, channels, grid, _ = network(name)
    scorer = IncrementalScorer(model, torch.rand(channels, *grid, generator=generator), 1)
    outputs = {step.output for step in scorer.lowered.steps}
    assert scorer.lowered.output in outputs


def small(channels=1, classes=2):
    return randomised(Plain(channels, classes)).double().eval()


@pytest.mark.parametrize("fill", [0.7, [0.1, 0.9], "volume"], ids=str)
def test_fills_and_several_channels(fill, generator):
    scan = torch.rand(2, 12, 9, 11, generator=generator, dtype=torch.float64)
    if fill == "volume":
        fill = torch.rand(12, 9, 11, generator=generator, dtype=torch.float64)
    boxes = random_boxes((12, 9, 11), 60, generator)
    actual = IncrementalScorer(small(2), scan, 0, fill=fill).score(boxes)
    expected = FullScorer(small(2), scan, 0, fill=fill).score(boxes)
    assert largest_difference(actual, expected) < 1e-10


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("score", ["probability", "logit"])
def test_scores_and_targets(score, classes, generator):
    scan = torch.rand(1, 10, 10, 10, generator=generator, dtype=torch.float64)
    boxes = random_boxes((10, 10, 10), 40, generator)
    model, tracer = small(1, classes), KeptTrace()
    for target in (0, 1, None):
        made = [
            IncrementalScorer(model, scan, target, score=score, tracer=tracer),
            FullScorer(model, scan, target, score=score),
        ]
        assert made[0].target == made[1].target
        actual, expected = (scorer.score(boxes) for scorer in made)
        assert largest_difference(actual, expected) < 1e-10


@pytest.mark.parametrize("name", ["resnet-gap", "DenseNet121"])
def test_the_same_window_scores_the_same_bytes_in_any_batch_and_order(name, generator):
    model, channels, grid, _ = network(name)
    scan = torch.rand(channels, *grid, generator=generator)
    boxes = random_boxes(grid, 64, generator)
    together = IncrementalScorer(model, scan, 1, batch_size=64)
    expected = together.score(boxes)
    order = torch.randperm(64, generator=generator)
    assert torch.equal(together.score(boxes[order]), expected[order])
    for size in (1, 7):
        one = IncrementalScorer(model, scan, 1, batch_size=size)
        assert torch.equal(one.score(boxes), expected)


@pytest.mark.parametrize("stop", [0, 1, 3, 5, 99])
def test_wherever_whole_maps_take_over_the_scores_are_the_same(stop, generator, monkeypatch):
    from pyadx.inference.incremental import lowered_network

    monkeypatch.setattr(lowered_network, "best_stop", lambda steps, *rest: (min(stop, len(steps)), 1.0))
    scan = torch.rand(1, 11, 12, 13, generator=generator, dtype=torch.float64)
    boxes = random_boxes((11, 12, 13), 30, generator)
    for model in (small(), randomised(Gap()).double().eval()):
        actual = IncrementalScorer(model, scan, 1).score(boxes)
        assert largest_difference(actual, FullScorer(model, scan, 1).score(boxes)) < 1e-10


@pytest.mark.parametrize("name", ["resnet-gap", "resnet18", "plain", "grouped"])
def test_the_vendors_convolutions_give_the_same_scores_as_ours(name, generator):
    """The way that a GPU takes, on the CPU."""
    from pyadx.inference.incremental.operations.convolution import Convolution

    if name in ("plain", "grouped"):
        model, channels, grid = small(), 1, (12, 11, 13)
        if name == "grouped":
            layers = (torch.nn.Conv3d(1, 4, 3, 2, 1), torch.nn.Conv3d(4, 6, 2, 1, 1, 2, 2), torch.nn.ReLU())
            sizes = torch.nn.Sequential(*layers)(torch.zeros(1, 1, *grid)).shape[1:].numel()
            head = (torch.nn.Flatten(), torch.nn.Linear(sizes, 2))
            model = randomised(torch.nn.Sequential(*layers, *head)).double().eval()
    else:
        model, channels, grid, _ = network(name)
    scan = torch.rand(channels, *grid, generator=generator, dtype=torch.float64)
    boxes = random_boxes(grid, 24, generator)
    scorer = IncrementalScorer(model.double(), scan, 1)
    expected = scorer.score(boxes)
    for step in scorer.lowered.steps:
        if isinstance(step, Convolution):
            step.convolver, step.algorithms = "library", None
    assert largest_difference(scorer.score(boxes), expected) < 1e-10


def test_bf16_is_opt_in_and_close(generator):
    model, channels, grid, _ = network("resnet-shallow-gap")
    scan = torch.rand(channels, *grid, generator=generator)
    boxes = random_boxes(grid, 40, generator)
    exact = IncrementalScorer(model, scan, 1, score="logit").score(boxes)
    rounded = IncrementalScorer(model, scan, 1, score="logit", precision="bf16").score(boxes)
    assert 0 < largest_difference(rounded, exact) < 0.05


def test_memory_stays_within_the_bound_and_too_small_a_bound_is_told(generator):
    model, _, grid, _ = network("resnet-gap")
    scan = torch.rand(1, *grid, generator=generator)
    boxes = random_boxes(grid, 100, generator)[8:]
    free = IncrementalScorer(model, scan, 1)
    expected = free.score(boxes)
    bound = free.memory["cache"] + free.memory["batches"] // 2
    tight = IncrementalScorer(model, scan, 1, max_memory=bound)
    assert torch.equal(tight.score(boxes), expected)
    assert sum(tight.memory.values()) <= bound
    with pytest.raises(ValueError, match="max_memory of 1,000 bytes is too little"):
        IncrementalScorer(model, scan, 1, max_memory=1000).score(boxes)


@pytest.mark.parametrize("name", ["resnet", "DenseNet121", "EfficientNetBN"])
def test_every_buffer_comes_back_after_a_batch(name, generator):
    model, channels, grid, _ = network(name)
    scorer = IncrementalScorer(model, torch.rand(channels, *grid, generator=generator), 1, batch_size=4)
    scorer.score(random_boxes(grid, 12, generator)[8:])
    assert not scorer.program.workspace.lent


def test_a_batch_that_runs_out_of_memory_is_halved_and_leaves_nothing_lent(generator, monkeypatch):
    from pyadx.inference.incremental.operations.convolution import Convolution

    scan = torch.rand(1, 10, 10, 10, generator=generator, dtype=torch.float64)
    boxes = random_boxes((10, 10, 10), 24, generator)
    scorer = IncrementalScorer(small(), scan, 1, batch_size=16)
    expected = scorer.score(boxes)
    original = Convolution.run

    def tight(self, batch, inputs, maps):
        if batch.size > 5:
            raise MemoryError
        return original(self, batch, inputs, maps)

    monkeypatch.setattr(Convolution, "run", tight)
    with pytest.warns(UserWarning, match="continuing with batches of"):
        assert torch.equal(scorer.score(boxes), expected)
    assert not scorer.program.workspace.lent


def test_tf32_is_off_while_scoring_and_as_it_was_afterwards(generator):
    seen = []
    model = small()
    model.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    FullScorer(model, torch.rand(1, 10, 10, 10).double(), 1).score(torch.tensor([[0, 0, 0, 3, 3, 3]]))
    assert seen == [False, False]
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_cache_and_batches_take_less_than_three_forwards(generator):
    model = models.build("vggnet", seed=0).eval()
    scan = torch.rand(1, 110, 110, 110, generator=generator)
    taken = []
    hooks = [
        module.register_forward_hook(lambda module, args, out: taken.append(out.numel() * 4))
        for module in model.modules()
        if not list(module.children())
    ]
    FullScorer(model, scan, 1)
    for hook in hooks:
        hook.remove()
    scorer = IncrementalScorer(model, scan, 1)
    scorer.score(random_boxes((110, 110, 110), 8, generator))
    assert scorer.memory["cache"] < sum(taken)
    assert sum(scorer.memory.values()) < 3 * sum(taken)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int8"}, "precision must be one of"),
        ({"precision": "tf32"}, "needs a CUDA device"),
        ({"max_memory": 0}, "max_memory must be"),
        ({"max_memory": 1.5}, "max_memory must be"),
        ({"batch_size": 0}, "batch_size"),
        ({"fill": float("nan")}, "NaN"),
    ],
)
def test_wrong_options_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        IncrementalScorer(small(), torch.rand(1, 10, 10, 10, dtype=torch.float64), 1, **options)


def test_cuda_equals_cpu(device, generator):
    model, channels, grid, _ = network("resnet-shallow-gap")
    scan = torch.rand(channels, *grid, generator=generator, dtype=torch.float64)
    boxes = random_boxes(grid, 40, generator)
    expected = IncrementalScorer(model.double(), scan, 1).score(boxes)
    actual = IncrementalScorer(model.to(device), scan.to(device), 1).score(boxes)
    assert largest_difference(actual.cpu(), expected) < 1e-10


def test_a_model_that_works_in_place_leaves_the_scan_alone(generator):
    model = torch.nn.Sequential(
        torch.nn.LeakyReLU(0.5, inplace=True), torch.nn.Conv3d(1, 2, 3), torch.nn.ReLU(inplace=True),
        torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(),
    ).double().eval()  # fmt: skip
    scan = torch.randn(1, 9, 9, 9, generator=generator, dtype=torch.float64)
    boxes, kept = random_boxes((9, 9, 9), 20, generator), scan.clone()
    actual, expected = (kind(model, scan, 1).score(boxes) for kind in (IncrementalScorer, FullScorer))
    assert torch.equal(scan, kept)
    assert largest_difference(actual, expected) < 1e-10


def test_weights_that_are_computed_from_others(generator):
    from torch.nn.utils.parametrizations import weight_norm

    model = torch.nn.Sequential(
        weight_norm(torch.nn.Conv3d(1, 4, 3)), torch.nn.BatchNorm3d(4), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), weight_norm(torch.nn.Linear(4, 2)),
    ).double().eval()  # fmt: skip
    scan = torch.randn(1, 9, 9, 9, generator=generator, dtype=torch.float64)
    boxes = random_boxes((9, 9, 9), 20, generator)
    scorer = IncrementalScorer(model, scan, 1)
    assert largest_difference(scorer.score(boxes), FullScorer(model, scan, 1).score(boxes)) < 1e-10
    assert scorer.lowered.output in {step.output for step in scorer.lowered.steps}


def test_dropout_that_a_model_keeps_switched_on_is_not_an_identity():
    """Its scores are random; it must not be dropped from the graph in silence."""

    class Noisy(Plain):
        def forward(self, x):
            return super().forward(torch.nn.functional.dropout(x, 0.9, training=True))

    scorer = IncrementalScorer(randomised(Noisy()).double().eval(), torch.rand(1, 9, 9, 9).double(), 1)
    assert len(scorer.lowered.steps) == 0
