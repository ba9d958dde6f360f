"""Checks that every method must pass; a new one is tested before its author writes a test.

The networks are small and in float64, so that what should be equal is equal to rounding.
"""

import inspect

import numpy as np
import pytest
import torch
from networks import Gap, randomised

import pyadx
from pyadx.explainers import Explanation, methods, parse_method

NAMES = sorted(methods())
# What keeps a map of this size cheap; other methods run as they are.
FAST = {
    "occlusion": "occlusion:window=3,stride=3",
    "sa3ducm": "sa3ducm:max_regions=8",
    "shapley": "shapley:max_regions=4,pairs=2",
    "flip": "flip:max_regions=4",
    "smoothgrad": "smoothgrad:samples=3",
    "integratedgradients": "integratedgradients:steps=4",
}
SHAPE = (9, 8, 10)


@pytest.fixture(params=NAMES)
def spelling(request):
    return FAST.get(request.param, request.param)


@pytest.fixture
def model():
    own = randomised(Gap(3)).double()
    with torch.no_grad():
        # Maps have both signs, and probabilities are not saturated.
        own.fc.weight *= 0.1 * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    own.class_names = ("NC", "MCI", "AD")
    return own


@pytest.fixture
def scans(generator):
    return torch.rand(3, 1, *SHAPE, generator=generator, dtype=torch.float64)


def with_option(spelling, option):
    return f"{spelling}{',' if ':' in spelling else ':'}{option}"


def has(spelling, *options):
    return set(options) <= set(parse_method(spelling).method.options)


def close(one, other):
    return torch.allclose(one, other, rtol=1e-5, atol=1e-9)


def test_a_run_says_all_that_was_found(spelling, model, scans):
    explain = pyadx.explainer(spelling, model)
    found = explain.run(scans, target=[0, None, 2])
    assert isinstance(found, Explanation)
    assert found.heatmap.shape == (3, *SHAPE)
    assert found.heatmap.dtype == torch.float32
    assert found.heatmap.abs().max() > 0
    assert torch.allclose(found.outputs, model.eval()(scans))
    assert not found.outputs.requires_grad
    assert found.targets.tolist() == [0, int(found.outputs[1].argmax()), 2]
    assert len(found.reports) == 3
    for report in found.reports:
        assert 0 < report.evaluated <= report.evaluations
        assert isinstance(report.facts(), dict)
        assert "\n" not in report.summary()
    assert parse_method(found.method).canonical == found.method == explain.spec.canonical
    assert set(found.options) == set(parse_method(spelling).method.options)
    assert torch.equal(explain(scans, target=[0, None, 2]), found.heatmap)


def test_results_do_not_change_when_the_explainer_is_used_again(spelling, model, scans):
    explain = pyadx.explainer(spelling, model)
    first = explain.run(scans[:1], target=0)
    kept, outputs = first.heatmap.clone(), first.outputs.clone()
    explain.run(scans[1:], target=2)
    assert torch.equal(first.heatmap, kept)
    assert torch.equal(first.outputs, outputs)
    assert len(first.reports) == 1


def test_a_batch_equals_scans_one_by_one(spelling, model, scans):
    explain = pyadx.explainer(spelling, model)
    alone = torch.cat([explain(scan, target=1) for scan in scans])
    assert close(explain(scans, target=1), alone)
    if "batch_size" in parse_method(spelling).method.surroundings:
        assert close(pyadx.explainer(spelling, model, batch_size=1)(scans, target=1), alone)


def test_a_class_goes_by_name_and_by_index(spelling, model, scans):
    explain = pyadx.explainer(spelling, model)
    assert torch.equal(explain(scans, target="AD"), explain(scans, target=2))
    assert torch.equal(explain(scans, target=["AD", "NC", 1]), explain(scans, target=[2, 0, "MCI"]))


def test_without_a_target_the_predicted_class_is_explained(spelling, model, scans):
    explain = pyadx.explainer(spelling, model)
    predicted = model.eval()(scans).argmax(1).tolist()
    assert torch.equal(explain(scans), explain(scans, target=predicted))


@pytest.mark.parametrize("how", ["non-contiguous", "Fortran order", "expanded"])
def test_the_layout_of_the_volume_does_not_matter(spelling, model, scans, how):
    explain = pyadx.explainer(spelling, model)
    volume = {
        "non-contiguous": torch.stack([scans, -scans], -1)[..., 0],
        "Fortran order": scans.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0),
        "expanded": scans[:1].expand(3, -1, -1, -1, -1),
    }[how]
    assert not volume.is_contiguous()
    assert close(explain(volume, target=1), explain(volume.contiguous(), target=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.filterwarnings("ignore:occlusion runs one full forward")
def test_other_precisions_give_a_similar_map(spelling, model, scans, dtype):
    """Of scans that every precision holds exactly, so that segments are the same."""
    scans = (scans * 64).round() / 64
    expected = pyadx.explainer(spelling, model)(scans, target=1)
    found = pyadx.explainer(spelling, model.to(dtype))(scans.to(dtype), target=1)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    tolerance = {torch.float32: 1e-3, torch.float16: 0.3, torch.bfloat16: 2.0}[dtype]
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_gpu_gives_the_same_map(spelling, model, scans):
    expected = pyadx.explainer(spelling, model)(scans, target=1)
    found = pyadx.explainer(spelling, model.cuda())(scans.cuda(), target=1)
    assert found.device.type == "cuda"
    assert close(found.cpu(), expected)


def test_the_sign_is_that_of_the_absolute_map(spelling, model, scans):
    """A map that keeps the sign is, in absolute value, the map that does not."""
    if has(spelling, "signed") and not has(spelling, "aggregate"):
        options = "signed=true", "signed=false"
    elif has(spelling, "signed"):
        options = "aggregate=max,signed=true", "aggregate=max,signed=false"
    elif has(spelling, "rectify"):
        options = "rectify=none", "rectify=abs"
        scans = 2 * scans - 1.5  # feature maps have both signs, too: some methods have no negative weights
    else:
        pytest.skip("the method has no sign")
    signed, absolute = (
        pyadx.explainer(with_option(spelling, own), model)(scans, target=1) for own in options
    )
    assert (signed < 0).any()
    if spelling.startswith("occlusion"):  # between the voxels of a grid it is interpolated
        signed, absolute = signed[:, 1::3, ::3, ::3], absolute[:, 1::3, ::3, ::3]
    if has(spelling, "rectify"):  # rectified before it is laid over the scan
        assert (signed.abs() <= absolute + 1e-6 * absolute.max()).all()
    else:
        assert close(signed.abs(), absolute)


def test_filling_with_the_scan_itself_changes_nothing(spelling, model, scans):
    if not has(spelling, "fill"):
        pytest.skip("the method fills nothing")
    explain = type(pyadx.explainer(spelling, model))(model, fill=scans[0])
    assert (explain(scans[0], target=1) == 0).all()


def test_a_run_that_was_interrupted_goes_on_with_equal_bytes(spelling, model, scans, tmp_path, monkeypatch):
    explain = pyadx.explainer(spelling, model)
    if not explain.resumable:
        pytest.skip("the method keeps no scores")
    from pyadx.inference import scorer

    monkeypatch.setattr(scorer, "CHUNK", 5)
    expected = explain(scans[0], target=1)
    store = tmp_path / "scores"
    appended = scorer.ScoreStore.append

    def interrupted(self, scores):
        appended(self, scores)
        raise KeyboardInterrupt

    monkeypatch.setattr(scorer.ScoreStore, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explain.run(scans[0], target=1, store=store)
    monkeypatch.setattr(scorer.ScoreStore, "append", appended)
    with pytest.raises(ValueError, match="resume"):
        explain.run(scans[0], target=1, store=store)
    assert torch.equal(explain.run(scans[0], target=1, store=store, resume=True).heatmap, expected)


def test_progress_is_shown_on_standard_error_only(spelling, model, scans, capfd):
    quiet = pyadx.explainer(spelling, model)(scans, target=1)
    assert capfd.readouterr() == ("", "")
    shown = pyadx.explainer(spelling, model, progress=True)(scans, target=1)
    assert torch.equal(shown, quiet)
    assert capfd.readouterr().out == ""


def test_every_option_is_kept_under_its_name_and_takes_what_it_writes(spelling, model):
    explain = pyadx.explainer(spelling, model)
    for name, option in explain.spec.method.options.items():
        value = getattr(explain, name)
        text = option.kind.write(value)
        assert option.kind.write(option.parse(text)) == text
        assert option.help.endswith(".")
        again = pyadx.explainer(f"{explain.spec.method.name}:{name}={text}", model)
        assert option.kind.write(getattr(again, name)) == text


def test_bad_options_are_refused_before_any_work(spelling, model):
    name = parse_method(spelling).method.name
    for option in parse_method(spelling).method.options.values():
        if option.kind.allowed.startswith("a name"):
            continue
        with pytest.raises(ValueError, match=f"{option.name} must be"):
            parse_method(f"{name}:{option.name}=~~")
    with pytest.raises(ValueError, match="its options"):
        pyadx.explainer(f"{name}:nonsense=1", model)


@pytest.mark.parametrize(
    ("volume", "target", "words"),
    [
        (torch.zeros(9, 8, 10, dtype=torch.float64), 0, "shape"),
        (torch.full((1, *SHAPE), torch.nan, dtype=torch.float64), 0, "NaN"),
        (torch.zeros(1, 1, 0, 8, 10, dtype=torch.float64), 0, "empty"),
        (torch.zeros(1, *SHAPE, dtype=torch.float32), 0, "float32"),
        (torch.rand(1, *SHAPE, dtype=torch.float64), 3, "target 3"),
        (torch.rand(1, *SHAPE, dtype=torch.float64), "CN", "CN"),
        (torch.rand(1, *SHAPE, dtype=torch.float64), [0, 1], "2 targets for 1 scans"),
        ("scan.nii.gz", 0, "tensor"),
    ],
)
def test_volumes_and_targets_that_do_not_fit_are_told(spelling, model, volume, target, words):
    with pytest.raises((ValueError, TypeError), match=words) as raised:
        pyadx.explainer(spelling, model)(volume, target=target)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["probabilities", "log_probabilities"])
def test_a_network_may_end_in_softmax_or_its_logarithm(spelling, model, scans, kind):
    assert has(spelling, "outputs")
    end = torch.nn.Softmax(1) if kind == "probabilities" else torch.nn.LogSoftmax(1)
    if has(spelling, "score"):
        spelling = with_option(spelling, "score=probability")
    expected = pyadx.explainer(spelling, torch.nn.Sequential(model)).run(scans, target=1)
    whole = torch.nn.Sequential(model, end)
    found = pyadx.explainer(with_option(spelling, f"outputs={kind}"), whole).run(scans, target=1)
    assert close(found.heatmap, expected.heatmap)
    assert torch.allclose(found.outputs.softmax(1), expected.outputs.softmax(1))


class Odd(torch.nn.Module):
    """Takes a covariate, scans of two channels, and returns several outputs, one of them a number."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.class_names = model.class_names

    def forward(self, x, shift=None):
        scores = self.model(x[:, :1] if x.shape[1] > 1 else x)
        scores = scores if shift is None else scores + shift
        return {"features": x.mean((2, 3, 4)), "logits": scores, "age": 70 + scores[:, 2]}


def test_a_network_may_return_several_outputs_and_take_several_channels(spelling, model, scans):
    plain = pyadx.explainer(spelling, model).run(scans[:2], target=["AD", 0])
    explain = pyadx.explainer(with_option(spelling, "output=logits"), Odd(model))
    # Zeros in the second channel are its background; SmoothGrad's noise follows the range of all channels.
    both = explain.run(torch.cat([scans, 0 * scans], 1)[:2], target=["AD", 0])
    for found in (explain.run(scans[:2], target=["AD", 0]), both):
        assert close(found.heatmap, plain.heatmap)
        assert torch.equal(found.targets, plain.targets)
        assert torch.allclose(found.prediction, plain.outputs.softmax(1))
    with pytest.raises(TypeError, match="say which holds the class scores, such as output='logits'"):
        pyadx.explainer(spelling, Odd(model))(scans)


def test_a_network_may_predict_a_number(spelling, model, scans):
    if spelling == "cam":
        pytest.skip("the output layer is followed by another operation")
    if spelling.startswith("flip"):
        pytest.skip("there is no class to change")
    found = pyadx.explainer(with_option(spelling, "output=age,score=output"), Odd(model)).run(scans[:2])
    expected = pyadx.explainer(with_option(spelling, "score=logit"), model)(scans[:2], target=2)
    assert close(found.heatmap, expected)
    assert found.targets.tolist() == [0, 0]
    assert torch.allclose(found.prediction, 70 + model.eval()(scans[:2])[:, 2])


def test_a_network_may_take_more_than_scans(spelling, model, scans):
    shift = torch.tensor([[0.0], [0.3], [0.9]], dtype=torch.float64) * torch.tensor([1.0, 0.0, -1.0])
    explain = pyadx.explainer(with_option(spelling, "output=logits"), Odd(model))
    if spelling == "cam":
        pytest.skip("the output layer is followed by another operation")
    found = explain.run(scans, target=1, forward_args={"shift": shift})
    assert torch.allclose(found.outputs, model.eval()(scans) + shift)
    alone = [explain(own, 1, forward_args=(row[None],))[0] for own, row in zip(scans, shift, strict=True)]
    assert close(found.heatmap, torch.stack(alone))


def test_whole_numbers_of_numpy_are_a_scan(spelling, model, scans):
    volume = (scans * 4).round()
    array = volume.numpy().astype(">i2")[:, :, ::-1]
    explain = pyadx.explainer(spelling, model)
    assert torch.equal(explain(array, target=np.int64(1)), explain(volume.flip(2), target=1))


def test_a_preset_is_made_of_options(spelling):
    method = parse_method(spelling).method
    for preset, options in method.presets.items():
        spec = parse_method(f"{method.name}:{preset}")
        assert {name: spec.options[name] for name in options} == dict(options)


def test_the_result_does_not_share_memory_with_the_scan(spelling, model, scans):
    heat = pyadx.explainer(spelling, model)(scans, target=1)
    copy = heat.clone()
    scans.zero_()
    assert torch.equal(heat, copy)


def test_a_mask_restricts_the_map_and_the_work(spelling, model, scans):
    explain = pyadx.explainer(spelling, model)
    if "mask" not in inspect.signature(explain.run).parameters:
        pytest.skip("the method fills no regions")
    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[2:6, 3:6, 4:9] = True
    whole, part = explain.run(scans[:1], target=1), explain.run(scans[:1], target=1, mask=inside)
    assert (part.heatmap[0][~inside] == 0).all()
    # What the model predicts may not hang on the mask alone.
    assert part.heatmap[0][inside].abs().max() > 0 or spelling.startswith("flip")
    assert 0 < part.reports[0].evaluated <= whole.reports[0].evaluated
    if spelling.startswith("occlusion"):
        assert part.reports[0].evaluated <= whole.reports[0].evaluated / 2
        assert torch.equal(part.heatmap[0][inside], whole.heatmap[0][inside])
    # One mask for all scans, or one per scan; arrays of whatever type.
    both = explain(scans[:2], target=1, mask=np.stack([inside, inside]).astype(np.uint8))
    assert torch.equal(both[:1], part.heatmap)
    for bad, words in ((inside[1:], "mask has shape"), (inside & False, "mask holds no voxel")):
        with pytest.raises(ValueError, match=words):
            explain(scans[:1], target=1, mask=bad)
