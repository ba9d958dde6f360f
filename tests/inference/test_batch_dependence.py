"""Networks whose class scores of a scan depend on the scans beside it, and networks that only look so."""

import warnings

import pytest
import torch
from networks import Gap, Plain
from paper_methods import Occlusion, SupervoxelOcclusion
from torch import nn

from pyadx import CAM, GradCAM
from pyadx.evaluation.faithfulness import deletion_insertion
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.batch.axis import ALL_APART, Entangled
from pyadx.inference.batch.dependence import BatchDependenceWarning, find_dependence, runs_apart
from pyadx.inference.batch.trace import place_in_trace, state_of_trace
from pyadx.inference.batch.watch import Watch
from pyadx.inference.incremental.trace import trace
from pyadx.inference.model_state import Forward, evaluation_mode

SHAPE = (9, 8, 10)


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def between(self, x):
        return x

    def forward(self, x):
        return self.head(self.act(self.between(self.conv(x))).mean((2, 3, 4)))


class BatchStatistics(Pooled):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm3d(4, track_running_stats=False)

    def between(self, x):
        return self.norm(x)


class NoStatistics(BatchStatistics):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm3d(4)
        self.norm.running_mean = self.norm.running_var = None


class Centred(Pooled):
    def between(self, x):
        return x - 0.5 * x.mean(dim=0, keepdim=True)


class AgainstTheFirst(Pooled):
    def between(self, x):
        return x - 0.5 * x[:1]


class LargestOfAll(Pooled):
    def between(self, x):
        return x / x.abs().max()


class BatchIntoChannels(Pooled):
    def between(self, x):
        together = x.reshape(1, -1, *x.shape[2:])
        return (together - together.mean(1, keepdim=True)).reshape(x.shape)


class TokensFirst(Pooled):
    """Attention whose ``batch_first`` was forgotten: scans attend to each other."""

    def __init__(self):
        super().__init__()
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)

    def forward(self, x):
        return self.head(self.attention(self.conv(x).flatten(2)[..., ::40].transpose(1, 2)).mean(1))


class NumbersOut(Pooled):
    """Cannot be traced: a number that leaves torch."""

    def between(self, x):
        return x / float(abs(x.detach().numpy()).max())


class Item(Pooled):
    def between(self, x):
        return x / x.abs().max().item()


class Sums(Pooled):
    """Depends on how many scans there are."""

    def between(self, x):
        return x * x.shape[0]


DEPENDENT = [
    BatchStatistics, NoStatistics, Centred, AgainstTheFirst, LargestOfAll, BatchIntoChannels, TokensFirst,
    NumbersOut, Item, Sums,
]  # fmt: skip


class SlicesAsBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x):
        b, c, d, h, w = x.shape
        maps = self.norm(self.conv(x.permute(0, 2, 1, 3, 4).reshape(b * d, c, h, w)))
        return self.head(maps.relu().mean((2, 3)).view(b, d, -1).amax(1))


class Normalised(Pooled):
    """Norms within each scan, among them one that torch writes as a batch norm of one scan."""

    def __init__(self):
        super().__init__()
        self.norms = nn.Sequential(nn.InstanceNorm3d(4), nn.GroupNorm(2, 4))

    def between(self, x):
        x = self.norms(x)
        return (x - x.mean((2, 3, 4), keepdim=True)) / (1 + x.flatten(1).std(1)[:, None, None, None, None])


class Attends(TokensFirst):
    def __init__(self):
        super().__init__()
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)


class Gated(Pooled):
    def between(self, x):
        weight = torch.softmax(x.mean((2, 3, 4)), 1)
        return torch.cat([x * weight[:, :, None, None, None], x], 1)[:, :4]


INDEPENDENT = [Pooled, Gap, Plain, SlicesAsBatch, Normalised, Attends, Gated]


def build(kind):
    torch.manual_seed(2)
    model = kind().double().eval()
    head = next(getattr(model, name) for name in ("fc", "head") if hasattr(model, name))
    (head[-1] if isinstance(head, nn.Sequential) else head).bias.data += 3  # no probabilities
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d | nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.1, 0.1)
    return model


@pytest.fixture
def scans(generator):
    scans = torch.rand(3, 1, *SHAPE, generator=generator, dtype=torch.float64)
    return scans * torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)[:, None, None, None, None]


def plain_scores(model, scan, boxes, fill=0.2):
    """Change of the class score for every box, one plain forward each."""
    scores = []
    with torch.no_grad():
        before = model(scan[None])[0, 1]
        for z0, y0, x0, z1, y1, x1 in boxes.tolist():
            filled = scan[None].clone()
            filled[:, :, z0:z1, y0:y1, x0:x1] = fill
            scores.append((before - model(filled)[0, 1]).abs())
    return torch.stack(scores)


BOXES = torch.tensor([[0, 0, 0, 3, 3, 3], [2, 3, 4, 6, 5, 9], [4, 4, 4, 7, 7, 7], [0, 5, 0, 9, 8, 2]])


@pytest.mark.filterwarnings("ignore:occlusion runs")
@pytest.mark.parametrize("size", ["auto", 4])
@pytest.mark.parametrize("kind", DEPENDENT)
def test_scores_equal_forwards_of_one_scan_and_one_warning_says_so(kind, size, scans):
    model = build(kind)
    expected = plain_scores(model, scans[0], BOXES)
    assert expected.max() > 0
    scorers = [FullScorer] if kind in (NumbersOut, Item) else [FullScorer, IncrementalScorer]

    def scores():
        options = {"fill": 0.2, "score": "logit", "batch_size": size}
        return [scorer(model, scans[0], 1, **options).score(BOXES) for scorer in scorers]

    with pytest.warns(BatchDependenceWarning, match="run one at a time") as caught:
        found = scores()
    assert all((actual - expected).abs().max() < 1e-10 * expected.max() for actual in found)
    assert len([w for w in caught if w.category is BatchDependenceWarning]) == 1


@pytest.mark.filterwarnings("ignore:occlusion runs")
@pytest.mark.parametrize("kind", DEPENDENT)
@pytest.mark.parametrize("method", ["gradcam", "occlusion", "sa3ducm"])
def test_maps_of_a_batch_are_the_maps_of_its_scans(method, kind, scans):
    model = build(kind)
    explain = {
        "gradcam": GradCAM(model, "conv"),
        "occlusion": Occlusion(model, 3, 4),
        "sa3ducm": SupervoxelOcclusion(model, max_regions=6),
    }[method]
    with pytest.warns(BatchDependenceWarning):
        together = explain.run(scans, target=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        apart = [explain(scan, target=1)[0] for scan in scans]
    assert torch.equal(together.heatmap, torch.stack(apart))
    with torch.no_grad():
        plain = torch.cat([model(scan[None]) for scan in scans])
    assert torch.allclose(together.outputs, plain, rtol=1e-10, atol=1e-12)


def test_cam_of_a_batch_is_the_cam_of_its_scans(scans):
    model = build(BatchStatistics)
    explain = CAM(model)
    with pytest.warns(BatchDependenceWarning, match=r"BatchNorm3d.*by 0\.\d+ where the largest is"):
        together = explain(scans, target=1)
    assert torch.equal(together, torch.cat([explain(scan, target=1) for scan in scans]))


def test_deletion_and_insertion_run_one_copy_at_a_time(scans):
    model = build(Centred)
    heat = torch.rand(SHAPE)
    with pytest.warns(BatchDependenceWarning):
        found = deletion_insertion(model, scans[0], heat, 1, steps=5, batch_size=4)
    again = deletion_insertion(model, scans[0], heat, 1, steps=5, batch_size=1)
    assert (found.deletion.score == again.deletion.score).all()
    assert (found.insertion.score == again.insertion.score).all()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (BatchStatistics, "layer 'norm', BatchNorm3d, at test_batch_dependence.py"),
        (Centred, "return x - 0.5 * x.mean(dim=0, keepdim=True)"),
        (AgainstTheFirst, "return x - 0.5 * x[:1]"),
        (TokensFirst, "layer 'attention.self_attn', MultiheadAttention"),
    ],
)
def test_the_layer_and_the_line_are_named(kind, words, scans):
    for own in (IncrementalScorer, FullScorer):
        with pytest.warns(BatchDependenceWarning) as caught:
            own(build(kind), scans[0], 1).score(BOXES)
        assert words in str(caught[0].message)
    with pytest.warns(BatchDependenceWarning) as caught:
        GradCAM(build(kind), "conv")(scans)
    assert words in str(caught[0].message)


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_ordinary_networks_are_known_from_their_operations_and_cost_no_forward(kind, scans):
    model = build(kind)
    with evaluation_mode(model), torch.no_grad():
        traced = trace(model, scans[0])
        assert state_of_trace(traced.nodes, traced.input, traced.output) == ALL_APART
        with Watch(model) as watch:
            Forward(model)(scans)
    assert watch.state == ALL_APART
    runs = []
    model.register_forward_hook(lambda module, args, output: runs.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace(model, scans[0])
        traced = len(runs)
        IncrementalScorer(model, scans[0], 1)
        assert len(runs) == 2 * traced + 1  # the trace, and the scan by itself
        runs.clear()
        FullScorer(model, scans[0], 1, batch_size=2).score(BOXES)
        assert len(runs) == 1 + 2
        if kind is not SlicesAsBatch:
            runs.clear()
            GradCAM(model, next(n for n, m in model.named_modules() if isinstance(m, nn.Conv3d)))(scans)
            assert len(runs) == 2  # batches of two and of one


@pytest.mark.parametrize("kind", [Centred, BatchStatistics, AgainstTheFirst])
def test_a_trace_is_certain_of_what_it_sees(kind, scans):
    model = build(kind)
    with evaluation_mode(model), torch.no_grad():
        traced = trace(model, scans[0])
    state = state_of_trace(traced.nodes, traced.input, traced.output)
    assert isinstance(state, Entangled)
    assert state.certain
    assert "test_batch_dependence.py" in place_in_trace(state.where)


def test_an_unknown_operation_is_tried_with_other_scans_beside_it(scans):
    class Recurrent(Pooled):
        first = True

        def __init__(self):
            super().__init__()
            self.unit = nn.LSTM(4, 4, batch_first=self.first)

        def forward(self, x):
            return self.head(self.unit(self.conv(x).flatten(2)[..., ::40].transpose(1, 2))[0][:, -1])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FullScorer(build(Recurrent), scans[0], 1).score(BOXES)
    Recurrent.first = False
    with pytest.warns(BatchDependenceWarning, match="layer 'unit', LSTM"):
        FullScorer(build(Recurrent), scans[0], 1).score(BOXES)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_where_memory_does_not_suffice_for_three_scans_two_are_tried(scans, most):
    model = Centred().eval().double()

    class Short(Forward):
        def __call__(self, batch):
            if len(batch) > most:
                raise torch.OutOfMemoryError("no room")
            return super().__call__(batch)

    with torch.no_grad():
        found = find_dependence(Short(model), scans[0])
    assert (found is None) == (most == 1)


def test_torchs_own_layers_in_sequence_need_no_check():
    assert runs_apart(nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.Flatten(), nn.Linear(2, 2)))
    assert not runs_apart(nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2, track_running_stats=False)))
    assert not runs_apart(nn.Sequential(nn.Flatten(0)))
    assert not runs_apart(Pooled())


def test_a_network_for_one_scan_only_is_run_on_one_and_the_reason_told(scans):
    class One(Pooled):
        def forward(self, x):
            return nn.functional.linear(self.conv(x).mean((2, 3, 4)).reshape(1, 4), self.head.weight)

    model = build(One)
    expected = plain_scores(model, scans[0], BOXES)
    with pytest.warns(
        BatchDependenceWarning, match=r"one scan at a time: on several it fails with.*reshape\(1, 4\)"
    ):
        actual = FullScorer(model, scans[0], 1, fill=0.2, score="logit", batch_size=4).score(BOXES)
    assert (actual - expected).abs().max() < 1e-10 * expected.max()
    maps = GradCAM(model, "conv")(scans)
    assert torch.equal(maps, torch.cat([GradCAM(model, "conv")(scan) for scan in scans]))
