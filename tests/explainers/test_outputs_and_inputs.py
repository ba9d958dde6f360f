"""What networks return and take: several outputs, single numbers, regression, further inputs."""

import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from networks import Gap, randomised
from torch import nn

import pyadx
from pyadx.commands.explaining.provenance import named_prediction
from pyadx.evaluation.faithfulness import deletion_insertion
from pyadx.evaluation.truth import causal_truth, region_truth
from pyadx.explainers import parse_method
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.report.sidecars import sign_words

SHAPE = (9, 8, 10)
METHODS = [
    "cam", "gradcam", "layercam", "hirescam:align=receptive_field", "inputxgradient",
    "smoothgrad:samples=2",
    "integratedgradients:steps=3", "deeplift", "occlusion:window=3,stride=4",
    "occlusion:window=3,stride=4,engine=full", "occlusion:window=3,stride=4,engine=incremental",
    "sa3ducm:max_regions=5",
]  # fmt: skip
BOXES = torch.tensor([[0, 0, 0, 3, 3, 3], [2, 3, 4, 6, 5, 9], [0, 0, 0, 9, 8, 10]])


def gap(classes=3):
    own = randomised(Gap(classes)).double().eval()
    with torch.no_grad():
        own.fc.weight *= 0.1 * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    return own


class Returning(nn.Module):
    """Gives the class scores in some form, with feature maps beside them."""

    def __init__(self, form, classes=3):
        super().__init__()
        self.net, self.form = gap(classes), form

    def forward(self, x):
        return self.form(self.net(x), x.mean((2, 3, 4)))


@dataclass
class AsDataclass:
    logits: torch.Tensor
    hidden: torch.Tensor | None = None


class AsNamedTuple(NamedTuple):
    hidden: torch.Tensor
    logits: torch.Tensor


FORMS = {
    "dictionary": (lambda own, other: {"features": other, "logits": own}, ["logits", 1, -1]),
    "tuple": (lambda own, other: (other, own), [1, -1]),
    "list": (lambda own, other: [own, None, other], [0]),
    "dataclass": (lambda own, other: AsDataclass(own, other), ["logits", 0]),
    "named tuple": (lambda own, other: AsNamedTuple(other, own), ["logits", 1]),
    "object": (lambda own, other: SimpleNamespace(logits=own, other=other), ["logits"]),
    "nested": (lambda own, other: {"heads": [other, own]}, ["heads.1"]),
}


@pytest.fixture
def scans(generator):
    return torch.rand(2, 1, *SHAPE, generator=generator, dtype=torch.float64)


def with_option(spelling, option):
    return f"{spelling}{',' if ':' in spelling else ':'}{option}"


@pytest.fixture(autouse=True)
def no_fallback():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.mark.parametrize("spelling", METHODS)
def test_one_of_several_outputs_is_explained_as_if_it_were_the_only_one(spelling, scans):
    form, (output, *_) = FORMS["dictionary"]
    expected = pyadx.explainer(spelling, gap()).run(scans, target=2)
    explain = pyadx.explainer(with_option(spelling, f"output={output}"), Returning(form))
    found = explain.run(scans, target=2)
    assert torch.allclose(found.heatmap, expected.heatmap, rtol=1e-6, atol=1e-12)
    assert torch.equal(found.outputs, expected.outputs)
    assert parse_method(found.method).options["output"] == output


@pytest.mark.parametrize("form", FORMS)
def test_outputs_go_by_name_and_by_index(form, scans):
    make, outputs = FORMS[form]
    expected = IncrementalScorer(gap(), scans[0], 1).score(BOXES)
    for output in outputs:
        model = Returning(make)
        assert torch.allclose(IncrementalScorer(model, scans[0], 1, output=output).score(BOXES), expected)
        assert torch.allclose(FullScorer(model, scans[0], 1, output=output).score(BOXES), expected)
    model.card = SimpleNamespace(output=outputs[0])
    assert torch.allclose(FullScorer(model, scans[0], 1).score(BOXES), expected)


@pytest.mark.parametrize("spelling", METHODS)
def test_without_a_word_several_outputs_are_listed_with_the_way_out(spelling, scans):
    model = Returning(FORMS["dictionary"][0])
    with pytest.raises(
        TypeError, match=r"features \[\w+, 1\], logits \[\w+, 3\].*output='logits'"
    ) as raised:
        pyadx.explainer(spelling, model)(scans[:1], target=1)
    assert "\n" not in str(raised.value)


def test_outputs_that_are_not_there_are_told(scans):
    cases = {
        "dictionary": ("scores", ValueError, "no output 'scores'; its outputs are features"),
        "tuple": (2, ValueError, r"no output 2; its outputs are 0 \[1, 1\], 1 \[1, 3\]"),
        "list": (0.5, TypeError, "name or the index"),
    }
    for form, (output, error, words) in cases.items():
        with pytest.raises(error, match=words):
            FullScorer(Returning(FORMS[form][0]), scans[0], 1, output=output)
    with pytest.raises(ValueError, match=r"output='logits' was given.* a single tensor \[1, 3\]"):
        FullScorer(gap(), scans[0], 1, output="logits")
    with pytest.raises(TypeError, match="got str"):
        FullScorer(Returning(lambda own, other: "scores"), scans[0], 1)


SINGLE = {
    "[B, 1]": lambda own, other: own,
    "[B]": lambda own, other: own[:, 0],
    "squeezed": lambda own, other: own.squeeze(),
    "squeezed, of one axis": lambda own, other: own.squeeze(1),
    "[B] in a dictionary": lambda own, other: {"age": own[:, 0], "features": other},
}


@pytest.mark.parametrize("form", SINGLE)
@pytest.mark.parametrize("spelling", ["cam", "gradcam", "deeplift", *METHODS[-4:-1]])
def test_one_number_per_scan_is_a_logit_or_is_followed_as_it_is(spelling, form, scans):
    model, plain = Returning(SINGLE[form], 1), gap(1)
    if "dictionary" in form:
        spelling = with_option(spelling, "output=age")
    bare = spelling.replace(",output=age", "").replace(":output=age", "")
    # As a binary logit: the sign speaks for class 1, its negative for class 0.
    assert torch.allclose(
        pyadx.explainer(spelling, model)(scans, target=0),
        pyadx.explainer(bare, plain)(scans, target=0),
        rtol=1e-6,
        atol=1e-12,
    )
    # As a number of its own: no softmax, nothing is turned around.
    explain = pyadx.explainer(with_option(spelling, "score=output"), model)
    found = explain.run(scans)
    logit = pyadx.explainer(with_option(bare, "score=logit"), plain)(scans, target=1)
    assert torch.allclose(found.heatmap, logit, rtol=1e-6, atol=1e-12)
    assert found.targets.tolist() == [0, 0]
    assert torch.allclose(found.prediction, plain(scans)[:, 0])
    with pytest.raises(ValueError, match="target 1 is out of range: the model has only output 0"):
        explain(scans, target=1)


@pytest.mark.parametrize(
    ("line", "output"),
    [
        (lambda own, other: 50 + own.squeeze(1), None),
        (lambda own, other: (own.squeeze(1) + 9) / (own[:, 0].abs() + 1), None),
        (lambda own, other: {"age": (own[:, 0] * 2).exp()}, "age"),
    ],
)
def test_what_is_done_to_one_number_per_scan_is_scored_as_full_forwards_score_it(line, output, scans):
    model = Returning(line, 1)
    options = {"score": "output", "output": output}
    found = [
        pyadx.Occlusion(model, window=3, stride=4, engine=engine, **options)(scans)
        for engine in ("incremental", "full")
    ]
    assert torch.allclose(*found, rtol=1e-9, atol=1e-12)
    assert found[0].abs().max() > 0


class Age(nn.Module):
    """Brain age in years: far from zero, where a logit would be saturated."""

    def __init__(self):
        super().__init__()
        self.net = gap(1)

    def forward(self, x):
        return 70 + 10 * self.net(x)[:, 0]


@pytest.mark.parametrize("spelling", METHODS)
def test_regression_is_in_the_users_units_without_a_warning(spelling, scans):
    model = Age()
    model.card = SimpleNamespace(task="regression")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="the map adds up")  # steps are few here
        if spelling == "cam":
            with pytest.raises(ValueError, match="linear layer after global average pooling"):
                pyadx.explainer(spelling, model)(scans)
            return
        found = pyadx.explainer(spelling, model).run(scans)
        said = pyadx.explainer(with_option(spelling, "score=output"), Age()).run(scans)
    assert found.options["score"] == "output"
    assert torch.equal(found.heatmap, said.heatmap)
    assert torch.allclose(found.prediction, model(scans))


@pytest.mark.parametrize("engine", [FullScorer, IncrementalScorer])
def test_the_change_of_a_regression_equals_its_definition(engine, scans):
    model = Age()
    with torch.no_grad():
        expected = []
        for z0, y0, x0, z1, y1, x1 in BOXES.tolist():
            filled = scans[:1].clone()
            filled[..., z0:z1, y0:y1, x0:x1] = 0
            expected.append(float(model(scans[:1]) - model(filled)))
    scorer = engine(model, scans[0], score="output", signed=True)
    assert torch.allclose(scorer.score(BOXES), torch.tensor(expected, dtype=torch.float64), rtol=1e-10)
    assert scorer.reference == pytest.approx(float(model(scans[:1])))


def test_of_several_outputs_that_are_followed_as_they_are_one_is_named(scans):
    model = gap()
    with pytest.raises(ValueError, match="3 outputs needs a target: an index from 0 to 2"):
        FullScorer(model, scans[0], score="output")
    model.class_names = ("age", "mmse", "volume")
    named = FullScorer(model, scans[0], "mmse", score="output", signed=True)
    assert torch.allclose(
        named.score(BOXES), FullScorer(model, scans[0], 1, score="logit", signed=True).score(BOXES)
    )


def test_faithfulness_and_truth_follow_the_output_too(scans):
    heat, model = scans[0, 0], Returning(SINGLE["[B] in a dictionary"], 1)
    found = deletion_insertion(model, scans[0], heat, None, steps=4, output="age", score="output")
    same = deletion_insertion(gap(1), scans[0], heat, 1, steps=4, score="logit")
    assert found.srg == pytest.approx(same.srg)
    twin, mask = scans[1], {"all": torch.ones(SHAPE).numpy()}
    options = {"output": "age", "score": "output"}
    truth = causal_truth(model, scans[0], twin, None, window=3, stride=4, **options)
    assert torch.allclose(truth, causal_truth(gap(1), scans[0], twin, 1, window=3, stride=4, score="logit"))
    whole = region_truth(model, scans[0], twin, mask, None, **options)["all"]
    assert whole == pytest.approx(float((gap(1)(scans[:1]) - gap(1)(scans[1:])).detach()))


def test_the_sidecar_tells_the_output_in_its_own_units_and_what_signs_mean(scans):
    model = Age()
    found = pyadx.explainer("occlusion:window=3,stride=4,score=output", model).run(scans[:1])
    assert named_prediction(found, ("age",)) == {"age": pytest.approx(float(model(scans[:1]).detach()))}
    facts = {"target": {"name": "age"}, "parameters": found.options}
    assert sign_words(facts) == ("lowers age", "raises age")
    classes = pyadx.explainer("gradcam", gap()).run(scans[:1])
    assert sum(named_prediction(classes, ("NC", "MCI", "AD")).values()) == pytest.approx(1)
