import pytest
import torch
from networks import Gap, Plain, randomised
from reference import cam as reference

from pyadx import CAM, models


@pytest.fixture
def scans(generator):
    return torch.rand(3, 1, 8, 9, 10, generator=generator, dtype=torch.float64)


def features_of(model, layer, scans):
    kept = {}
    handle = layer.register_forward_hook(lambda module, args, out: kept.update(f=out.detach().clone()))
    model.eval()(scans)
    handle.remove()
    return kept["f"]


@pytest.mark.parametrize("rectify", ["abs", "relu", "none"])
def test_equals_the_weighted_sum_of_the_averaged_maps(rectify, scans):
    model = randomised(Gap(classes=3)).double()
    targets = [2, 0, 1]
    features = features_of(model, model.act, scans)
    expected = reference.weighted_cam(features, model.fc.weight.detach()[targets], (8, 9, 10), rectify)
    assert torch.allclose(CAM(model, rectify)(scans, targets).double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("score", ["logit", "probability", "log_odds", "output"])
def test_weights_are_the_derivative_of_the_score(score, outputs, scans):
    model = randomised(Gap(classes=outputs)).double().eval()
    targets = [0, 0, 0] if score == "output" else [outputs - 1, 0, 1]
    features = features_of(model, model.act, scans)
    pooled = features.mean((2, 3, 4)).requires_grad_()
    logits = model.fc(pooled)
    if outputs == 1 and score != "output":
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    p = logits.softmax(1)
    log_odds = p.log() - (1 - p).log()
    scored = {"logit": logits, "output": logits, "probability": p, "log_odds": log_odds}[score]
    chosen = scored[range(3), targets]
    if outputs == 1 and score == "logit":  # class 0 has the logit's negative
        chosen = torch.where(torch.tensor(targets) == 1, 1, -1) * logits[:, 1]
    (weights,) = torch.autograd.grad(chosen.sum(), pooled)
    expected = reference.weighted_cam(features, weights, (8, 9, 10), "none")
    found = CAM(model, "none", score=score)(scans, targets).double()
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-7 * expected.abs().max().item())


def test_log_odds_do_not_vanish_where_the_probability_is_one(scans):
    model = randomised(Gap()).double()
    with torch.no_grad():
        model.fc.bias += torch.tensor([0.0, 1000.0])
    assert not CAM(model, score="probability")(scans, target=1).any()
    logits = CAM(model, "none")(scans, target=1) - CAM(model, "none")(scans, target=0)
    log_odds = CAM(model, "none", score="log_odds")(scans, target=1)
    assert torch.allclose(
        log_odds, logits, rtol=0, atol=1e-5 * logits.abs().max().item()
    )  # both are float32


def test_bias_is_ignored(scans):
    """MONAI adds the output layer's bias to the map."""
    model = randomised(Gap()).double()
    before = CAM(model)(scans, target=1)
    with torch.no_grad():
        model.fc.bias += 100.0
    assert torch.equal(CAM(model)(scans, target=1), before)


def test_without_a_target_each_scan_is_explained_for_its_own_class(scans):
    model = randomised(Gap(classes=4)).double()
    scans[1] *= -3
    predicted = model(scans).argmax(1).tolist()
    assert torch.equal(CAM(model)(scans), CAM(model)(scans, target=predicted))


def test_weights_changed_after_construction_are_used(scans):
    model = randomised(Gap()).double()
    explain = CAM(model)
    explain(scans, target=1)
    randomised(model, seed=5)
    assert torch.equal(explain(scans, target=1), CAM(model)(scans, target=1))


def test_finds_the_pooled_layer_of_the_paper_networks():
    for name, layer in (("resnet-gap", "voxres9_out"), ("resnet-shallow-gap", "relu4")):
        explain = CAM(models.build(name, (24, 24, 24), seed=0))
        explain(torch.rand(1, 1, 24, 24, 24), target="AD")
        assert explain._head.layer == layer


def test_networks_without_global_average_pooling_are_refused(scans):
    with pytest.raises(ValueError, match="global average pooling"):
        CAM(randomised(Plain()).double())(scans)
    with_softmax = torch.nn.Sequential(Gap().double(), torch.nn.Softmax(1))
    with pytest.raises(ValueError, match="last operation"):
        CAM(with_softmax)(scans)


def test_cuda_equals_cpu(device, generator):
    model = randomised(Gap())
    scans = torch.rand(2, 1, 8, 9, 10, generator=generator)
    expected = CAM(model)(scans, target=1)
    actual = CAM(model.to(device))(scans.to(device), target=1)
    assert torch.allclose(actual.cpu(), expected, rtol=1e-4, atol=1e-6 * expected.max().item())


def test_nan_weights_are_told_as_what_they_are():
    model = randomised(Gap())
    with torch.no_grad():
        model.conv1.weight[0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        CAM(model)(torch.rand(1, 1, 9, 9, 9), target=1)
