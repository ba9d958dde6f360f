import pytest
import torch
from networks import Gap, Plain, randomised
from paper_methods import Occlusion
from reference import occlusion as reference

from pyadx.explainers.windows import WindowGrid
from pyadx.inference import FullScorer

SHAPE = (7, 9, 8)


def plain(in_channels=1, classes=2):
    return randomised(Plain(in_channels, classes)).double().eval()


def scan_of(channels, generator):
    return torch.rand(channels, *SHAPE, generator=generator, dtype=torch.float64)


def every_voxel(shape=SHAPE):
    return [list(range(n)) for n in shape]


@pytest.mark.parametrize("window", [(3, 3, 3), (1, 1, 1), (2, 4, 3), (99, 99, 99), (1, 99, 2)], ids=str)
def test_stride_one_equals_reference_at_every_voxel(window, generator):
    # The slow twin fills windows voxel by voxel, and these hold the whole scan.
    shape = (5, 6, 4) if window == (99, 99, 99) else SHAPE
    model = plain()
    scan = torch.rand(1, *shape, generator=generator, dtype=torch.float64)
    expected = reference.occlusion_map(model, scan, 1, window, every_voxel(shape))
    actual = Occlusion(model, window)(scan, target=1)
    assert actual.dtype == torch.float32
    assert actual.shape == (1, *shape)
    assert torch.allclose(actual[0].double(), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("fill", [0.7, [0.1, 0.9], "volume", "channels"], ids=str)
def test_fills_and_several_channels(fill, generator):
    model, scan = plain(in_channels=2), scan_of(2, generator)
    if fill == "volume":
        fill = torch.rand(SHAPE, generator=generator, dtype=torch.float64)
    elif fill == "channels":
        fill = torch.rand(2, *SHAPE, generator=generator, dtype=torch.float64)
    expected = reference.occlusion_map(model, scan, 0, (3, 3, 3), every_voxel(), fill)
    actual = Occlusion(model, 3, fill=fill)(scan, target=0)[0]
    assert torch.allclose(actual.double(), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("stride", [(2, 2, 2), (3, 4, 1), (50, 50, 50)], ids=str)
def test_strided_maps_hold_the_scores_at_the_centres_and_interpolate_between(stride, generator):
    """Strides larger than the window, which Captum refuses, are allowed."""
    model, scan = plain(), scan_of(1, generator)
    centres = [list(range((n - 1) % s // 2, n, s)) for n, s in zip(SHAPE, stride, strict=True)]
    expected = reference.occlusion_map(model, scan, 1, (3, 3, 3), centres)
    actual = Occlusion(model, 3, stride)(scan, target=1)[0].double()
    at_centres = actual[centres[0]][:, centres[1]][:, :, centres[2]]
    assert torch.allclose(at_centres, expected, rtol=1e-5, atol=1e-8)
    assert actual.min() >= expected.min() - 1e-8
    assert actual.max() <= expected.max() + 1e-8


def test_windows_at_the_border_are_clipped_not_shifted():
    grid = WindowGrid((5, 6, 7), (3, 3, 3), (2, 2, 2))
    boxes = grid.boxes()
    assert grid.counts == (3, 3, 4)
    assert boxes[0].tolist() == [-1, -1, -1, 2, 2, 2]
    assert boxes[-1].tolist() == [3, 3, 5, 6, 6, 8]
    centres = boxes[:, :3] + 1
    assert centres.min() >= 0
    assert (centres < torch.tensor([5, 6, 7])).all()


def test_windows_that_change_nothing_score_exactly_zero_without_a_forward(generator):
    model, scan = plain(), scan_of(1, generator)
    scan[:, :5] = 0.25
    forwards = []
    model.register_forward_hook(lambda module, args, out: forwards.append(len(out)))
    explain = Occlusion(model, 3, fill=0.25, engine="full")
    found = explain.run(scan, target=1)
    heat = found.heatmap[0]
    assert torch.equal(heat[:4], torch.zeros_like(heat[:4]))
    assert heat[4:].abs().min() > 0
    (report,) = found.reports
    assert report.windows == heat.numel()
    # Windows on the first changing plane come to the same regions as those one plane further.
    assert report.regions == report.scored == heat[5:].numel()
    assert sum(forwards) == 1 + report.regions


def test_probability_is_softmax_for_a_one_channel_input(generator):
    """MONAI takes the sigmoid of each class where the input has one channel."""
    model, scan = plain(), scan_of(1, generator)
    scorer = FullScorer(model, scan, target=1)
    assert scorer.reference == pytest.approx(model(scan[None]).softmax(1)[0, 1].item(), rel=1e-12)
    logit = FullScorer(model, scan, target=1, score="logit")
    assert logit.reference == pytest.approx(model(scan[None])[0, 1].item(), rel=1e-12)


def test_one_output_is_the_logit_of_class_one(generator):
    model, scan = plain(classes=1), scan_of(1, generator)
    output = model(scan[None]).item()
    one, zero = (FullScorer(model, scan, target=t).reference for t in (1, 0))
    assert one == pytest.approx(torch.tensor(output).sigmoid().item(), rel=1e-6)
    assert one + zero == pytest.approx(1.0)
    assert FullScorer(model, scan, target=0, score="logit").reference == pytest.approx(-output)


def test_scores_do_not_depend_on_batch_size_or_order(generator):
    model, scan = plain(), scan_of(1, generator)
    boxes = WindowGrid(SHAPE, (3, 3, 3), (2, 2, 2)).boxes()
    whole = FullScorer(model, scan, 1, batch_size=1000).score(boxes)
    assert torch.allclose(
        FullScorer(model, scan, 1, batch_size=1).score(boxes), whole, rtol=1e-9, atol=1e-15
    )
    shuffled = torch.randperm(len(boxes), generator=generator)
    actual = FullScorer(model, scan, 1, batch_size=7).score(boxes[shuffled])
    assert torch.allclose(actual, whole[shuffled], rtol=1e-9, atol=1e-15)


def test_batch_of_scans_equals_scan_by_scan(generator):
    model = plain(classes=3)
    scans = torch.rand(3, 1, *SHAPE, generator=generator, dtype=torch.float64)
    batch = Occlusion(model, 3, 3)(scans, target=[0, 2, 1])
    single = [Occlusion(model, 3, 3)(scan, target=t)[0] for scan, t in zip(scans, [0, 2, 1], strict=True)]
    assert torch.equal(batch, torch.stack(single))


def test_cuda_equals_cpu(device, generator):
    model = randomised(Gap())
    scan = torch.rand(1, *SHAPE, generator=generator)
    expected = Occlusion(model, 3, 2)(scan, target=1)
    actual = Occlusion(model.to(device), 3, 2)(scan.to(device), target=1)
    assert torch.allclose(actual.cpu(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda m, v: Occlusion(m, 0), ValueError, "window"),
        (lambda m, v: Occlusion(m, 2.5), ValueError, "window"),
        (lambda m, v: Occlusion(m, (3, 3)), ValueError, "window"),
        (lambda m, v: Occlusion(m, True), ValueError, "window"),
        (lambda m, v: Occlusion(m, 3, -1), ValueError, "stride"),
        (lambda m, v: Occlusion(m, 3, engine="fast"), ValueError, "engine"),
        (lambda m, v: Occlusion(m, 3, batch_size="huge"), ValueError, "batch_size"),
        (lambda m, v: Occlusion(m, 3, fill=[1.0, 2.0])(v), ValueError, "fill"),
        (lambda m, v: Occlusion(m, 3, fill=float("nan"))(v), ValueError, "NaN"),
        (lambda m, v: Occlusion(m, 3)(v, target=5), ValueError, "target 5"),
        (lambda m, v: Occlusion(m, 3)(v[0]), ValueError, "[B,C,D,H,W]"),
        (lambda m, v: Occlusion("model", 3)(v), TypeError, "torch.nn.Module"),
    ],
)
def test_wrong_use_is_told(make, error, words, generator):
    with pytest.raises(error) as raised:
        make(plain(), scan_of(1, generator))
    assert words in str(raised.value)
