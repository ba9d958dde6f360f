"""Networks that take more than a scan, such as age and sex, held fixed while the scan is changed."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import pyadx
from pyadx.evaluation.faithfulness import deletion_insertion
from pyadx.evaluation.truth import causal_truth, region_truth
from pyadx.inference import FullScorer, IncrementalScorer

SHAPE = (9, 8, 10)
BOXES = torch.tensor([[2, 2, 3, 5, 6, 7], [0, 0, 0, 9, 8, 10], [4, 4, 4, 5, 5, 5]])
METHODS = [
    "gradcam", "gradcam:align=receptive_field", "layercam:layer=conv1", "inputxgradient",
    "smoothgrad:samples=3", "integratedgradients:steps=3", "deeplift", "occlusion:window=3,stride=4",
    "occlusion:window=3,stride=4,engine=full", "sa3ducm:max_regions=5",
]  # fmt: skip


class WithCovariates(nn.Module):
    """Age scales the features that are pooled, and goes into the last layer with sex."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.conv1, self.act1 = nn.Conv3d(1, 4, 3, padding=1), nn.ReLU()
        self.conv2, self.act2 = nn.Conv3d(4, 5, 3, padding=1), nn.ReLU()
        self.gate, self.fc = nn.Linear(1, 5), nn.Linear(7, 2)
        self.double().eval()
        with torch.no_grad():
            for own in self.parameters():
                own.copy_(torch.rand(own.shape, generator=generator) - 0.4)

    def forward(self, x, age, sex=None):
        pooled = self.act2(self.conv2(self.act1(self.conv1(x)))).mean((2, 3, 4))
        sex = torch.zeros_like(age) if sex is None else sex.to(age.dtype)
        return self.fc(torch.cat([pooled * self.gate(age / 50), age / 50, sex], 1))


@pytest.fixture
def scans(generator):
    return torch.rand(3, 1, *SHAPE, generator=generator, dtype=torch.float64)


@pytest.fixture(autouse=True)
def no_fallback():
    """Neither slow engines nor a false alarm about scans that depend on each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="the map adds up")  # steps are few here
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


AGES = torch.tensor([[60.0], [75.0], [90.0]])
SEX = np.array([[0], [1], [1]])


@pytest.mark.parametrize("spelling", METHODS)
def test_every_scan_has_its_own_and_keeps_it(spelling, scans):
    explain = pyadx.explainer(spelling, WithCovariates())
    found = explain.run(scans, target=1, forward_args={"age": AGES, "sex": SEX})
    expected = WithCovariates()(scans, AGES.double(), torch.as_tensor(SEX))
    assert torch.allclose(found.outputs, expected)
    for place in range(3):
        alone = explain.run(
            scans[place], target=1, forward_args=(AGES[place : place + 1], SEX[place : place + 1])
        )
        assert torch.allclose(found.heatmap[place], alone.heatmap[0], rtol=1e-5, atol=1e-9)
    same = explain(scans, target=1, forward_args=torch.tensor([[60.0]]))
    assert torch.allclose(same[0], explain(scans[0], target=1, forward_args=(AGES[:1], None))[0])
    assert not torch.allclose(same[1], found.heatmap[1], rtol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
@pytest.mark.parametrize("output", [None, "logits"])
def test_both_engines_give_the_scores_by_definition(scans, batch_size, output):
    class Several(WithCovariates):
        def forward(self, x, age, sex=None):
            return {"age": age, "logits": super().forward(x, age, sex)}

    model = WithCovariates() if output is None else Several()
    given = {"age": AGES[1:2], "sex": SEX[1:2]}
    options = {"score": "logit", "signed": True, "batch_size": batch_size, "forward_args": given}
    with torch.no_grad():
        alone = AGES[1:2].double(), torch.as_tensor(SEX[1:2])
        score = lambda x: WithCovariates()(x, *alone)[0, 1]  # noqa: E731
        expected = []
        for z0, y0, x0, z1, y1, x1 in BOXES.tolist():
            filled = scans[1:2].clone()
            filled[..., z0:z1, y0:y1, x0:x1] = 0
            expected.append(score(scans[1:2]) - score(filled))
    for engine in (FullScorer, IncrementalScorer):
        scorer = engine(model, scans[1], 1, output=output, **options)
        assert torch.allclose(scorer.score(BOXES), torch.stack(expected), rtol=1e-10, atol=1e-12)
        assert batch_size == 1 or scorer.batch_size != 1
    assert (scorer.gains(BOXES.numpy().astype(np.int32))[::2] > 1.1).all()


@pytest.mark.parametrize("spelling", ["occlusion:window=3,stride=4", "gradcam:align=receptive_field"])
def test_a_kept_trace_is_not_used_for_another_age(spelling, scans):
    kept = pyadx.explainer(spelling, WithCovariates(), keep_trace=True)
    for place in (0, 1, 0):
        given = {"age": AGES[place : place + 1]}
        once = pyadx.explainer(spelling, WithCovariates())(scans[0], target=1, forward_args=given)
        assert torch.equal(kept(scans[0], target=1, forward_args=given), once)


def test_a_run_with_another_age_does_not_go_on_with_these_scores(scans, tmp_path):
    explain = pyadx.explainer("occlusion:window=3,stride=4", WithCovariates())
    explain.run(scans[0], target=1, forward_args=AGES[:1], store=tmp_path / "scores")
    again = explain.run(scans[0], 1, forward_args=AGES[:1], store=tmp_path / "scores", resume=True)
    assert torch.equal(again.heatmap, explain(scans[0], 1, forward_args=AGES[:1]))
    with pytest.raises(ValueError, match="forward_args"):
        explain.run(scans[0], 1, forward_args=AGES[1:2], store=tmp_path / "scores", resume=True)


def test_numbers_flags_and_dtypes_are_handed_on(scans):
    seen = []

    class Asking(WithCovariates):
        def forward(self, x, age, scale, flag, key=None):
            seen.append((age.dtype, tuple(age.shape), scale, flag, key))
            return super().forward(x * scale, age)

    given = {"age": np.float32([[70]]), "scale": 2.0, "flag": True, "key": "t1"}
    scorer = FullScorer(Asking(), scans[0], 1, forward_args=given, batch_size=2)
    scorer.score(BOXES)
    assert {own[0] for own in seen} == {torch.float64}
    assert {own[1] for own in seen} >= {(1, 1), (2, 1)}
    assert {own[2:] for own in seen} == {(2.0, True, "t1")}


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"age": torch.rand(2, 1)}, ValueError, r"forward_args\['age'\] has shape \(2, 1\) for 3 scans"),
        (
            ([[70.0]],),
            TypeError,
            r"forward_args\[0\] must be a tensor, an array or a plain value, got list",
        ),
        ({"age": torch.tensor([[torch.nan]])}, ValueError, r"forward_args\['age'\] holds NaN"),
    ],
)
@pytest.mark.parametrize("spelling", ["gradcam", "inputxgradient", "occlusion:window=3,stride=4"])
def test_what_does_not_fit_is_told(spelling, given, error, words, scans):
    with pytest.raises(error, match=words):
        pyadx.explainer(spelling, WithCovariates())(scans, 1, forward_args=given)


def test_faithfulness_and_truth_take_them_too(scans):
    given, model = {"age": AGES[:1]}, WithCovariates()
    heat = causal_truth(model, scans[0], scans[1], 1, window=3, stride=4, score="logit", forward_args=given)
    assert heat.abs().max() > 0
    mask = {"all": np.ones(SHAPE)}
    whole = region_truth(model, scans[0], scans[1], mask, 1, score="logit", forward_args=given)["all"]
    with torch.no_grad():
        expected = model(scans[:2], AGES[:1].double().expand(2, 1))[:, 1]
    assert whole == pytest.approx(float(expected[0] - expected[1]))
    curves = deletion_insertion(model, scans[0], heat, 1, steps=4, score="logit", forward_args=given)
    assert curves.deletion.score[0] == pytest.approx(float(expected[0]))


class Wrapper(nn.Module):
    """What people write today: the covariate is kept, and brought to the size of the batch by hand."""

    def __init__(self, expand):
        super().__init__()
        self.net, self.age, self.expand = WithCovariates(), 75.0, expand

    def forward(self, x):
        return self.net(x, self.expand(x, torch.tensor([[self.age]], dtype=x.dtype)))


EXPANDS = {
    "len": lambda x, age: age.expand(len(x), 1),
    "shape": lambda x, age: age.expand(x.shape[0], -1),
    "size": lambda x, age: age.repeat(x.size(0), 1),
    "full": lambda x, age: torch.full((len(x), 1), 75.0, dtype=x.dtype),
    "new": lambda x, age: x.new_ones(len(x), 1) * age,
}


@pytest.mark.parametrize("expand", EXPANDS)
def test_covariates_that_a_wrapper_brings_to_the_batchs_size_are_traced(expand, scans):
    model = Wrapper(EXPANDS[expand])
    given = {"forward_args": {"age": torch.tensor([[75.0]])}, "score": "logit", "signed": True}
    expected = FullScorer(WithCovariates(), scans[0], 1, **given).score(BOXES)
    fast = IncrementalScorer(model, scans[0], 1, score="logit", signed=True)
    assert torch.allclose(fast.score(BOXES), expected, rtol=1e-10, atol=1e-12)
    assert fast.batch_size != 1
    assert (fast.gains(BOXES.numpy().astype(np.int32))[::2] > 1.1).all()


def test_maps_that_a_covariate_scales_are_exact_too(scans):
    class Gated(WithCovariates):
        def forward(self, x, age):
            maps = self.act1(self.conv1(x))
            maps = maps * self.gate(age / 50)[:, :4, None, None, None]
            pooled = self.act2(self.conv2(maps)).mean((2, 3, 4))
            return self.fc(torch.cat([pooled, age, age], 1))

    options = {"score": "logit", "signed": True, "forward_args": AGES[:1]}
    fast, slow = (engine(Gated(), scans[0], 1, **options) for engine in (IncrementalScorer, FullScorer))
    assert torch.allclose(fast.score(BOXES), slow.score(BOXES), rtol=1e-10, atol=1e-12)
