"""Gradient methods against slow twins, on awkward shapes; baselines, completeness, clear errors."""

import builtins
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import Gap, Plain, randomised
from reference import gradients as twin
from scipy import ndimage
from torch import nn

import pyadx
from pyadx import DeepLift, InputXGradient, IntegratedGradients, SmoothGrad
from pyadx.explainers.references import in_voxels, reference_volume

SHAPE = (7, 9, 6)


class Chain(nn.Module):
    """Convolutions and ReLUs in a row, each used once."""

    def __init__(self, channels=1, classes=2):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(channels, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm3d(4),
            nn.Conv3d(4, 3, 3, stride=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(72, classes),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


def two_signed(model):
    """Weights of both signs, so that ReLUs are off in places."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for own in randomised(model).parameters():
            own.copy_(torch.randn(own.shape, generator=generator) * 0.4)
    return model.double().eval()


@pytest.fixture
def scan(generator):
    """Two channels, not contiguous, of even and odd sizes."""
    made = torch.rand(*SHAPE, 2, generator=generator, dtype=torch.float64)
    return (made - 0.3).permute(3, 0, 1, 2)


@pytest.fixture
def model():
    own = two_signed(Chain(2))
    own.class_names = ("NC", "AD")
    return own


def run(explain, *arguments, **named):
    """Run with warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return explain.run(*arguments, **named)


def same(found, expected):
    expected = expected.sum(0)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found.heatmap[0].double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("score", "followed"), [("log_odds", twin.log_odds), ("logit", twin.logit)])
def test_smoothgrad_equals_its_twin(model, scan, score, followed):
    explain = SmoothGrad(model, samples=3, noise=0.2, seed=4, score=score, batch_size=2)
    expected = twin.smoothgrad(followed(model, 1), scan, 3, 0.2, 4)
    same(run(explain, scan, 1), expected)
    times = SmoothGrad(model, samples=3, noise=0.2, seed=4, score=score, baseline=0.1)
    same(run(times, scan, 1), expected * (scan - 0.1))
    without = SmoothGrad(model, samples=2, noise=0, score=score)
    same(run(without, scan, 1), twin.slope(followed(model, 1), scan))


def test_smoothgrad_gives_the_same_bytes_for_a_seed_and_touches_no_generator_of_others(model, scan):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, again = (SmoothGrad(model, samples=3)(scan, 1) for _ in range(2))
    assert torch.equal(one, again)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert not torch.allclose(one, SmoothGrad(model, samples=3, seed=1)(scan, 1), rtol=0.1)
    more = torch.stack([scan.flip(1), scan])
    assert torch.equal(SmoothGrad(model, samples=3)(more, 1)[1:], one)


@pytest.mark.parametrize("score", ["log_odds", "logit", "probability"])
def test_input_x_gradient_equals_its_twin_and_captum(model, scan, score):
    from captum.attr import InputXGradient as Theirs

    found = run(InputXGradient(model, 0.0, score=score), scan, 1)
    if score == "logit":
        theirs = Theirs(model).attribute(scan[None].clone().requires_grad_(), target=1)[0].detach()
        same(found, theirs)
    elif score == "log_odds":
        same(found, scan * twin.slope(twin.log_odds(model, 1), scan))
        baseline = 0.3 * scan.flip(1)
        same(
            run(InputXGradient(model, baseline), scan, 1),
            (scan - baseline) * twin.slope(twin.log_odds(model, 1), scan),
        )
    else:
        same(found, scan * twin.slope(lambda own: model(own[None])[0].softmax(0)[1], scan))


def test_integrated_gradients_equal_many_small_steps_and_add_up(model, scan):
    baseline = 0.5 * scan.flip(2)
    expected = twin.integrated_gradients(twin.log_odds(model, 1), scan, baseline, 500)
    explain = IntegratedGradients(model, baseline, steps=100, batch_size=64)
    found = run(explain, scan, 1)
    torch.testing.assert_close(found.heatmap[0].double(), expected.sum(0), rtol=0.02, atol=0.01)
    (report,) = found.reports
    with torch.no_grad():
        change = twin.log_odds(model, 1)(scan) - twin.log_odds(model, 1)(baseline)
    assert report.score_change == pytest.approx(float(change))
    assert report.completeness_gap < 5e-3
    assert report.facts()["completeness_gap"] == report.completeness_gap
    assert "completeness gap" in report.summary()
    assert report.evaluations == 100


def test_too_few_steps_are_told_with_the_figure(model, scan):
    explain = IntegratedGradients(model, steps=1)
    with pytest.warns(UserWarning, match=r"completeness gap of [\d.]+%.*steps=2") as told:
        found = explain.run(scan, 1)
    assert f"{found.reports[0].completeness_gap:.1%}" in str(told[0].message)
    assert told[0].filename == __file__


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_deeplift_equals_its_twin_and_adds_up(scan, classes):
    model = two_signed(Chain(2, classes))
    baseline = 0.5 * scan.flip(2)
    found = run(DeepLift(model, baseline, score="logit"), scan, 1)
    weights = torch.zeros(classes, dtype=torch.float64)
    weights[min(1, classes - 1)] = 1
    same(found, twin.rescale(list(model.layers), scan, baseline, weights))
    assert found.reports[0].completeness_gap < 1e-9
    for score in ("log_odds", "probability"):
        found = run(DeepLift(model, baseline, score=score), scan, 1)
        assert found.reports[0].completeness_gap < 1e-6


def test_deeplift_of_two_classes_is_that_of_the_difference_of_their_logits(model, scan):
    weights = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    expected = twin.rescale(list(model.layers), scan, torch.zeros_like(scan), weights)
    same(run(DeepLift(model, 0.0), scan, 1), expected)


def test_on_a_linear_network_all_are_input_x_gradient(scan):
    model = two_signed(nn.Sequential(nn.Conv3d(2, 3, 3), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(36, 2)))
    expected = run(InputXGradient(model, 0.2), scan, 1).heatmap
    for explain in (
        DeepLift(model, 0.2),
        IntegratedGradients(model, 0.2, steps=2),
        SmoothGrad(model, 2, baseline=0.2),
    ):
        torch.testing.assert_close(run(explain, scan, 1).heatmap, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("in_place", [False, True])
def test_deeplift_hands_back_through_max_pooling_behind_a_relu(scan, in_place):
    """Of a baseline that varies: of an even one every rule gives the same as none."""
    layers = nn.Conv3d(2, 3, 3), nn.ReLU(in_place), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(36, 2)
    model, baseline = two_signed(nn.Sequential(*layers)), scan.flip(1, 2)
    found = run(DeepLift(model, baseline, score="logit"), scan, 0)
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
    same(found, twin.rescale(list(model), scan, baseline, weights))
    assert found.reports[0].completeness_gap < 1e-9
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_network_that_ends_in_a_sigmoid_is_followed_before_it(scan):
    model = two_signed(Chain(2, 1))
    whole = nn.Sequential(model, nn.Sigmoid())
    found = run(DeepLift(whole, outputs="probabilities"), scan, 1)
    torch.testing.assert_close(found.heatmap, run(DeepLift(model), scan, 1).heatmap)
    assert not whole[1]._backward_hooks


def test_activations_that_deeplift_cannot_see_are_told(scan):
    class Functional(Chain):
        def forward(self, x):
            first, _, norm, second, _, flatten, last = self.layers
            return last(flatten(F.relu(second(norm(F.relu(first(x)))))))

    with pytest.warns(UserWarning, match=r"completeness gap of [\d.]+%.*modules of torch"):
        found = DeepLift(two_signed(Functional(2))).run(scan, 1)
    assert found.reports[0].completeness_gap > 0.05


def test_a_module_that_is_used_twice_is_refused_by_deeplift(scan):
    class Again(Chain):
        def forward(self, x):
            first, act, norm, second, _, flatten, last = self.layers
            return last(flatten(act(second(norm(act(first(x)))))))

    model = two_signed(Again(2))
    with pytest.raises(ValueError, match="used once each"):
        DeepLift(model)(scan, 1)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any({"input", "output"} & set(vars(m)) for m in model.modules())


def test_networks_that_deeplift_cannot_run_are_refused(scan):
    class Centred(Chain):
        def forward(self, x):
            return self.layers(x - x.mean(0, keepdim=True))

    with pytest.raises(ValueError, match="side by side"):
        DeepLift(two_signed(Centred(2)))(scan, 1)
    scripted = torch.jit.script(two_signed(Chain(2)))
    with pytest.raises(ValueError, match="TorchScript"):
        DeepLift(scripted)(scan, 1)


@pytest.mark.filterwarnings("ignore:the model's class scores of a scan depend")
@pytest.mark.parametrize("make", [SmoothGrad, IntegratedGradients])
def test_copies_run_one_by_one_where_they_would_meet(scan, make):
    class Centred(Chain):
        def forward(self, x):
            return self.layers(x - 0.5 * x.mean(0, keepdim=True))

    model = two_signed(Centred(2))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the map adds up")
        assert torch.equal(make(model, batch_size=3)(scan, 1), make(model, batch_size=1)(scan, 1))


@pytest.mark.parametrize("make", [SmoothGrad, InputXGradient, IntegratedGradients, DeepLift])
def test_baselines_go_by_the_names_of_references(make, generator):
    model = two_signed(Chain())
    scan = torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64)
    scan[:, :, :2] = 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the map adds up")
        for word in ("local:3", "mean", "0.2"):
            volume = reference_volume(word if word != "0.2" else 0.2, scan, model, spacing=1.5)
            named = make(model, baseline=word, spacing=1.5)(scan, 1)
            assert torch.equal(named, make(model, baseline=volume)(scan, 1))
        other = scan[0] * 0.9 + 0.05 * (scan[0] > 0)
        explain = make(model, baseline="scan:other.nii.gz")
        both = explain(torch.stack([scan, scan]), 1, reference=torch.stack([other, 0.5 * other]))
        assert torch.equal(both[1:], explain(scan, 1, reference=0.5 * other))
        with pytest.raises(ValueError, match="hand its volume over"):
            explain(scan, 1)
        with pytest.raises(ValueError, match="carries no mean image"):
            make(model, baseline="controls")(scan, 1)
    for word in ("harmonic", "region-mean"):
        with pytest.raises(ValueError, match="depends on the region"):
            make(model, baseline=word)
        with pytest.raises(ValueError, match="baseline must be"):
            pyadx.explainer(f"{explain.spec.method.name}:baseline={word}", model)
    assert "scan:other.nii.gz" in explain.spec.canonical


def test_the_scan_itself_as_baseline_leaves_nothing(model, scan):
    found = run(IntegratedGradients(model, scan, steps=2), scan, 1)
    assert (found.heatmap == 0).all()
    assert found.reports[0].completeness_gap is None
    assert found.reports[0].summary() == ""


def test_maps_are_smoothed_in_millimetres(model, scan):
    plain = InputXGradient(model, 0.0)(scan, 1)[0].double().numpy()
    found = InputXGradient(model, 0.0, smoothing=3.0, spacing=(1, 1.5, 2))(scan, 1)[0]
    expected = ndimage.gaussian_filter(plain, (3, 2, 1.5), mode="constant")
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    absolute = InputXGradient(model, 0.0, smoothing=3.0, spacing=(1, 1.5, 2), signed=False)(scan, 1)[0]
    assert torch.equal(absolute, found.abs())
    assert in_voxels(4.0, None) == 2


def test_it_works_in_inference_mode_and_without_gradients(model, scan):
    for make in (SmoothGrad, InputXGradient, IntegratedGradients, DeepLift):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="the map adds up")
            expected = make(model, baseline=0.5 * scan)(scan, 1)
            with torch.inference_mode():
                found = make(model, baseline=0.5 * scan)(scan.clone(), 1)
            with torch.no_grad():
                assert torch.equal(make(model, baseline=0.5 * scan)(scan, 1), expected)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("make", [SmoothGrad, InputXGradient, IntegratedGradients, DeepLift])
def test_a_score_without_a_gradient_is_told(make, scan):
    class Cut(Chain):
        def forward(self, x):
            return self.layers(x.detach())

    with pytest.raises(ValueError, match="differentiable"):
        make(two_signed(Cut(2)), batch_size=1)(scan, 1)


@pytest.mark.parametrize("make", [IntegratedGradients, DeepLift])
def test_without_captum_the_error_says_how_to_install_it(make, model, scan, monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **named):
        if name.partition(".")[0] == "captum":
            raise ImportError(name, name=name)
        return real(name, *arguments, **named)

    for name in [name for name in sys.modules if name.partition(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ValueError, match=r"pip install 'pyadx\[gradients\]'") as raised:
        make(model)
    assert "\n" not in str(raised.value)
    assert SmoothGrad(model, 1)(scan, 1).abs().max() > 0
    assert InputXGradient(model)(scan, 1).abs().max() > 0


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (SmoothGrad, {"samples": 0}, "samples must be"),
        (SmoothGrad, {"samples": 2.5}, "samples must be"),
        (SmoothGrad, {"noise": -0.1}, "noise must be"),
        (SmoothGrad, {"noise": float("nan")}, "noise must be"),
        (SmoothGrad, {"seed": -1}, "seed must be"),
        (IntegratedGradients, {"steps": 0}, "steps must be"),
        (InputXGradient, {"smoothing": 0}, "smoothing must be"),
        (DeepLift, {"score": "odds"}, "score must be"),
        (DeepLift, {"batch_size": 0}, "batch_size must be"),
    ],
)
def test_bad_options_are_refused(make, options, words):
    with pytest.raises(ValueError, match=words):
        make(Gap(), **options)


def test_no_baseline_is_for_smoothgrad_only():
    for make in (InputXGradient, IntegratedGradients, DeepLift):
        with pytest.raises(TypeError, match="reference is a number"):
            make(Plain(), baseline=None)


def test_when_memory_runs_out_the_batches_become_smaller(model, scan):
    class Small(Chain):
        def forward(self, x):
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.layers(x)

    small = two_signed(Small(2))
    small.load_state_dict(model.state_dict())
    for make in (SmoothGrad, IntegratedGradients):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(the map adds up|out of memory)")
            assert torch.allclose(make(small, batch_size=5)(scan, 1), make(model, batch_size=2)(scan, 1))
