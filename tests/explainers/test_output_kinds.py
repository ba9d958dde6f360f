"""Models that return probabilities, or logits that leave a probability no room to move."""

import warnings

import pytest
import torch
from networks import Gap, randomised
from paper_methods import Occlusion, SupervoxelOcclusion
from torch import nn

from pyadx import CAM, GradCAM
from pyadx.inference import FullScorer, IncrementalScorer, watch

SHAPE = (9, 8, 10)
ENDS = {
    "probabilities": {1: nn.Sigmoid(), 3: nn.Softmax(1)},
    "log_probabilities": {1: nn.LogSigmoid(), 3: nn.LogSoftmax(1)},
}
EXPLAINERS = {
    "occlusion": lambda model, **options: Occlusion(model, 3, 4, **options),
    "occlusion in full": lambda model, **options: Occlusion(model, 3, 4, engine="full", **options),
    "incremental": lambda model, **options: Occlusion(model, 3, 4, engine="incremental", **options),
    "supervoxels": lambda model, **options: SupervoxelOcclusion(model, max_regions=8, **options),
    "cam": CAM,
    "gradcam": lambda model, **options: GradCAM(model, "0.act", **options),
}
WINDOWED = ("occlusion", "occlusion in full", "incremental", "supervoxels")


class Functional(nn.Module):
    """Ends in a function, which no list of modules shows."""

    def __init__(self, model, function):
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, x):
        return self.function(self.model(x))


class Shifted(nn.Module):
    """A network whose outputs lie around another value, as those of a regression."""

    def __init__(self, model, by):
        super().__init__()
        self.add_module("0", model)
        self.by = by

    def forward(self, x):
        return self.get_submodule("0")(x) + self.by


def scans_of(generator, count=2, dtype=torch.float64):
    return torch.rand(count, 1, *SHAPE, generator=generator, dtype=dtype)


def gap(classes, seed=0):
    """A network with calm outputs, so that probabilities are neither 0 nor 1."""
    model = randomised(Gap(classes), seed).double().eval()
    with torch.no_grad():
        model.fc.weight.mul_(0.1)
    return model


def bare(classes):
    return nn.Sequential(gap(classes)).eval()


def ended(classes, kind):
    return nn.Sequential(gap(classes), ENDS[kind][classes]).eval()


def warnings_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught if warning.category is UserWarning]


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("classes", [1, 3])
def test_probabilities_that_a_model_returns_are_its_probabilities(generator, explainer, kind, classes):
    scans = scans_of(generator)
    make = EXPLAINERS[explainer]
    expected = make(bare(classes), score="probability")
    own = make(ended(classes, kind), score="probability", outputs=kind)
    heat = expected(scans)
    assert heat.max() > 0
    found = own.run(scans)
    assert torch.allclose(found.heatmap, heat, rtol=1e-5, atol=1e-9)
    given = ended(classes, kind)(scans)
    shares = given if kind == "probabilities" else given.exp()
    logits = found.outputs
    assert torch.allclose(logits.sigmoid() if classes == 1 else logits.softmax(1), shares, rtol=1e-12)


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("kind", ENDS)
def test_the_logit_behind_a_single_probability_is_had_back(generator, explainer, kind):
    scans = scans_of(generator)
    make = EXPLAINERS[explainer]
    own = make(ended(1, kind), score="logit", outputs=kind)
    heat = make(bare(1), score="logit")(scans)
    found = own.run(scans)
    assert torch.allclose(found.heatmap, heat, rtol=1e-4, atol=1e-6 * heat.max())
    assert torch.allclose(found.outputs, bare(1)(scans))


@pytest.mark.parametrize("explainer", [name for name in EXPLAINERS if name != "cam"])
def test_the_logits_behind_several_probabilities_are_had_back_up_to_a_constant(generator, explainer):
    scans = scans_of(generator)
    make = EXPLAINERS[explainer]
    own = make(ended(3, "probabilities"), score="logit", outputs="probabilities")
    expected = make(ended(3, "log_probabilities"), score="logit", outputs="log_probabilities")
    heat = expected(scans, target=1)
    assert heat.max() > 0
    found = own.run(scans, target=1)
    assert torch.allclose(found.heatmap, heat, rtol=1e-4, atol=1e-7)
    difference = found.outputs - bare(3)(scans)
    assert torch.allclose(difference, difference[:, :1].expand(-1, 3))


@pytest.mark.parametrize("engine", ["full", "incremental"])
def test_a_probability_of_0_119_is_class_0(generator, engine):
    """Taken for a logit it was class 1, with 0.53."""
    (scan,) = scans_of(generator, 1)
    model = gap(1)
    with torch.no_grad():
        model.fc.bias += torch.logit(torch.tensor(0.119)) - model(scan[None])[0]
    whole = nn.Sequential(model, nn.Sigmoid())
    own = Occlusion(whole, 3, 4, engine=engine, outputs="probabilities")
    found = own.run(scan)
    assert found.targets.tolist() == [0]
    assert found.outputs.sigmoid().item() == pytest.approx(0.119, rel=1e-6)
    assert torch.equal(found.heatmap, own(scan, target=0))
    scorer = FullScorer(whole, scan, outputs="probabilities")
    assert (scorer.target, scorer.reference) == (0, pytest.approx(1 - 0.119, rel=1e-6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("score", ["probability", "logit"])
def test_probabilities_of_exactly_0_and_1_stay_finite(generator, dtype, classes, score):
    class Certain(nn.Module):
        """Certain where the scan is whole, less and less so where voxels are gone."""

        def forward(self, x):
            gone = (x == 0).flatten(1).sum(1, keepdim=True).to(x.dtype) / 100
            share = 1 - gone.clamp(max=1)
            return share if classes == 1 else torch.cat([1 - share, share], 1)

    scan = torch.ones(1, 5, 5, 5, dtype=dtype)
    for target, expected in ((1, 1.0), (0, 0.0)):
        scorer = FullScorer(Certain(), scan, target, outputs="probabilities", score=score)
        assert torch.isfinite(scorer.outputs).all()
        found = scorer.score(torch.tensor([[0, 0, 0, 2, 2, 2], [0, 0, 0, 5, 5, 5]]))
        assert torch.isfinite(found).all()
        if score == "probability":
            assert scorer.reference == pytest.approx(expected, abs=torch.finfo(dtype).eps)
            assert found.tolist() == pytest.approx([0.08, 1.0], rel=1e-5)
        else:
            assert found.min() > 0.05


def test_logarithms_of_probabilities_may_be_minus_infinity(generator):
    class Logs(nn.Module):
        def forward(self, x):
            share = (x != 0).flatten(1).to(x.dtype).mean(1, keepdim=True)
            return torch.cat([1 - share, share], 1).log()

    scan = torch.ones(1, 4, 4, 4)
    scorer = FullScorer(Logs(), scan, 1, outputs="log_probabilities")
    assert scorer.outputs.isfinite().all()
    assert scorer.score(torch.tensor([[0, 0, 0, 2, 2, 2], [0, 0, 0, 4, 4, 4]])).tolist() == [0.125, 1.0]
    with pytest.raises(ValueError, match="NaN or infinity"):
        FullScorer(Logs(), scan, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_probabilities_are_taken_as_they_are(generator, dtype):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1)).to(dtype)
    scan = torch.rand(1, 4, 4, 4, generator=generator).to(dtype)
    scorer = FullScorer(model, scan, outputs="probabilities")
    assert scorer.outputs.dtype == torch.float32
    assert torch.allclose(scorer.outputs.softmax(1).to(dtype), model(scan[None]), rtol=2e-2)


@pytest.mark.parametrize("by", [25, 70])
def test_logarithms_keep_logits_that_probabilities_have_lost(generator, by):
    (scan,) = scans_of(generator, 1, torch.float32)
    model = Shifted(gap(1).float(), by)
    expected = FullScorer(model, scan, score="logit")
    logs = nn.Sequential(model, nn.LogSigmoid())
    own = FullScorer(logs, scan, score="logit", outputs="log_probabilities")
    boxes = torch.tensor([[0, 0, 0, 5, 5, 5], [0, 0, 0, 9, 9, 9]])
    found = []
    assert warnings_of(lambda: found.append(own.score(boxes))) == []
    assert torch.allclose(found[0], expected.score(boxes), rtol=1e-3, atol=1e-5)
    assert own.reference == pytest.approx(expected.reference, rel=1e-6)


@pytest.mark.parametrize("scorer", [FullScorer, IncrementalScorer])
@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        (bare(3), "probabilities", "outputs='probabilities' does not fit"),
        (bare(3), "log_probabilities", "outputs='log_probabilities' does not fit"),
        (Shifted(gap(1), 5), "probabilities", "go from"),
        (nn.Sequential(gap(3), nn.Sigmoid()), "probabilities", "sum to"),
    ],
)
def test_outputs_that_are_not_what_they_are_said_to_be_are_refused(generator, scorer, model, kind, words):
    with pytest.raises(ValueError, match=words):
        scorer(model.double(), scans_of(generator, 1)[0], outputs=kind)


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_an_unknown_kind_of_outputs_is_refused(explainer):
    with pytest.raises(ValueError, match="outputs must be one of logits, probabilities, log_probabilities"):
        EXPLAINERS[explainer](bare(2), outputs="percent")


# --- probabilities where logits are expected --------------------------------------------------------


@pytest.mark.parametrize("explainer", [name for name in EXPLAINERS if name != "cam"])
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (ended(1, "probabilities"), ["layer '1' (Sigmoid)", "outputs='probabilities'"]),
        (ended(3, "probabilities"), ["layer '1' (Softmax)", "outputs='probabilities'"]),
        (ended(1, "log_probabilities"), ["layer '1' (LogSigmoid)", "outputs='log_probabilities'"]),
        (ended(3, "log_probabilities"), ["layer '1' (LogSoftmax)", "outputs='log_probabilities'"]),
        (nn.Sequential(gap(3), nn.Sigmoid()), ["independent classes", "layer '1' (Sigmoid)"]),
        (nn.Sequential(gap(1), nn.Sequential(nn.Sigmoid(), nn.Flatten())), ["layer '1.0' (Sigmoid)"]),
    ],
    ids=str,
)
def test_probabilities_taken_for_logits_are_told_once_and_the_layer_is_named(
    generator, explainer, model, words
):
    own = EXPLAINERS[explainer](model)
    (message,) = warnings_of(lambda: own(scans_of(generator, 3)))
    for word in words:
        assert word in message
    assert len(warnings_of(lambda: own(scans_of(generator, 1)))) == 1


@pytest.mark.parametrize(
    ("function", "classes", "words"),
    [
        (torch.sigmoid, 1, "a sigmoid at its end"),
        (lambda x: x.softmax(1), 3, "a softmax at its end"),
        (lambda x: x.softmax(1)[:, 1:], 2, "a softmax at its end"),
        (lambda x: torch.cat([1 - x.sigmoid(), x.sigmoid()], 1), 1, "look like probabilities"),
        (lambda x: x.exp() / x.exp().sum(1, keepdim=True), 3, "look like probabilities already"),
        (nn.functional.logsigmoid, 1, "a log-sigmoid at its end"),
    ],
)
def test_functions_are_found_as_layers_are(generator, function, classes, words):
    model = Functional(gap(classes), function)
    (message,) = warnings_of(lambda: Occlusion(model, 3, 4)(scans_of(generator)))
    assert words in message


def test_negative_logits_are_searched_for_a_log_sigmoid_once(generator, monkeypatch):
    searches, search = [], watch.last_squashing
    monkeypatch.setattr(watch, "last_squashing", lambda *given: searches.append(1) or search(*given))
    own = GradCAM(Functional(gap(1), lambda x: -x.abs()))
    for _ in range(3):
        assert warnings_of(lambda: own(scans_of(generator, 1))) == []
    assert len(searches) == 1


def test_a_scripted_model_is_seen_through(generator):
    model = torch.jit.trace(ended(1, "probabilities"), scans_of(generator, 1))
    (message,) = warnings_of(lambda: Occlusion(model, 3, 4, engine="full")(scans_of(generator, 1)))
    assert "sigmoid" in message


def test_the_figures_are_told(generator):
    (scan,) = scans_of(generator, 1)
    model = gap(2)
    with torch.no_grad():
        model.fc.bias += torch.tensor([0.042, 0.958]).log() - model(scan[None])[0]
    (message,) = warnings_of(lambda: Occlusion(nn.Sequential(model, nn.Softmax(1)), 3, 4)(scan))
    assert "0.042, 0.958" in message
    assert "0.958 becomes a probability of 0.7142" in message


@pytest.mark.parametrize("scorer", [FullScorer, IncrementalScorer])
def test_scorers_warn_by_themselves(generator, scorer):
    own = scorer(ended(1, "probabilities"), scans_of(generator, 1)[0])
    assert len(warnings_of(lambda: own.score(torch.tensor([[0, 0, 0, 3, 3, 3]])))) == 1


class Gated(nn.Module):
    """A squeeze-and-excitation gate of one channel, whose sigmoid is not the end."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Sigmoid())

    def forward(self, x):
        x = self.conv(x)
        return ((x * self.gate(x)).mean((2, 3, 4)) * 1e-3) + 0.4


@pytest.mark.parametrize("explainer", WINDOWED)
@pytest.mark.parametrize(
    "model",
    [
        bare(1), bare(3), Shifted(gap(1), 1), Functional(gap(1), lambda x: 0.5 + 0.01 * x.tanh()), Gated(),
        Functional(gap(2), lambda x: 0.4 + 0.01 * x.tanh()), Functional(gap(3), lambda x: -x.abs()),
        Functional(gap(1), lambda x: -x.abs()),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_ordinary_logits_are_no_reason_for_a_word(generator, explainer, model):
    own = EXPLAINERS[explainer](model.double())
    assert warnings_of(lambda: own(scans_of(generator))) == []


def test_cam_of_a_model_with_softmax_names_the_option(generator):
    with pytest.raises(ValueError, match="outputs='probabilities' describes this one"):
        CAM(ended(3, "probabilities"))(scans_of(generator))
    with pytest.raises(ValueError, match="outputs='probabilities' does not fit"):
        CAM(bare(3), outputs="probabilities")(scans_of(generator))


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_the_look_for_a_sigmoid_leaves_no_hook(generator, explainer):
    model = ended(1, "probabilities")
    if explainer != "cam":
        EXPLAINERS[explainer](model)(scans_of(generator, 1))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# --- probabilities that cannot move -----------------------------------------------------------------


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("by", [70, -70])
def test_a_regression_near_70_says_why_its_map_is_empty(generator, explainer, by):
    model = Shifted(gap(1), by)
    if explainer == "cam":
        model = nn.Sequential(gap(1))
        with torch.no_grad():
            model[0].fc.bias += by
    own = EXPLAINERS[explainer](model, score="probability")
    scans = scans_of(generator, 3)
    found = []
    (message,) = warnings_of(lambda: found.append(own(scans)))
    assert found[0].max() < 1e-20
    value = model(scans).detach().abs().max()
    assert f"is 1 - {torch.exp(-value).item():.1g}" in message
    assert "regression" in message
    assert "score='output'" in message
    if explainer in WINDOWED:
        assert "the logit by up to" in message
    output = EXPLAINERS[explainer](model, score="output")
    assert warnings_of(lambda: found.append(output(scans))) == []
    assert found[1].max() > 1e-4


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_softmax_that_saturates_is_told(generator, explainer):
    model = gap(3)
    with torch.no_grad():
        model.fc.bias[1] += 60
    own = EXPLAINERS[explainer](nn.Sequential(model), score="probability")
    for target in (1, 0):
        (message,) = warnings_of(lambda t=target: own(scans_of(generator), target=t))
        assert f"probability of class {target} is " in message
        assert "regression" not in message


def test_what_moves_all_class_scores_alike_is_told(generator):
    class Together(nn.Module):
        def forward(self, x):
            return x.mean((2, 3, 4)) * 1e3 + torch.tensor([0.0, 1.0], dtype=x.dtype)

    (message,) = warnings_of(lambda: Occlusion(Together(), 3, 4)(scans_of(generator, 1)))
    assert "probability of class 1 is 0.731" in message
    assert "all class scores alike" in message


@pytest.mark.parametrize("score", ["probability", "logit"])
@pytest.mark.parametrize("explainer", ["occlusion", "gradcam"])
def test_a_sigmoid_of_the_models_own_that_saturates_asks_for_the_scores_before_it(
    generator, explainer, score
):
    model = nn.Sequential(Shifted(gap(1), 70), nn.Sigmoid())
    options = {"outputs": "probabilities", "score": score}
    if explainer == "gradcam":
        own = GradCAM(model, "0.0.act", **options)
    else:
        own = EXPLAINERS[explainer](model, **options)
    (message,) = warnings_of(lambda: own(scans_of(generator, 1)))
    assert "return its class scores before the sigmoid" in message


def test_a_map_that_is_not_empty_is_not_called_so():
    class Steep(nn.Module):
        def forward(self, x):
            return x.mean((2, 3, 4)) * 100 - 40

    found = []
    (message,) = warnings_of(lambda: found.append(Occlusion(Steep(), 9, 4)(torch.ones(1, *SHAPE))))
    assert found[0].max() > 0.99
    assert "is 1 - 9e-27" in message
    assert "smaller changes are lost" in message
    assert "empty" not in message


def test_a_confident_but_movable_probability_is_no_reason_for_a_word(generator):
    model = gap(1)
    with torch.no_grad():
        model.fc.bias += 12
    assert warnings_of(lambda: Occlusion(model, 3, 4)(scans_of(generator, 2, torch.float64))) == []
