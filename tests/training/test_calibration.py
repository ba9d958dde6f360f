"""Temperature and bias: they are those of the most likely probabilities, and move no order."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from pyadx.inference.score import probabilities
from pyadx.training.calibration import Calibration, apply_calibration, fit_calibration


def draw(random, classes, count=400):
    """Class scores of a network that is twice too sure and leans towards class 0."""
    true = random.normal(0, 1.5, (count, classes))
    chances = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    labels = np.array([random.choice(classes, p=p) for p in chances])
    lean = np.zeros(classes)
    lean[0] = 1.0
    return 2 * true + lean, labels


def loss(logits, labels):
    logits = logits - logits.max(1, keepdims=True)
    return -(logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(1))).mean()


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_the_most_likely_one(classes):
    logits, labels = draw(np.random.default_rng(classes), classes)
    found = fit_calibration(logits, labels)

    def of(values):
        return loss(logits * values[0] + np.concatenate([[0.0], values[1:]]), labels)

    best = minimize(of, [1.0] + [0.0] * (classes - 1), method="Nelder-Mead", options={"xatol": 1e-8})
    assert loss(logits / found.temperature + np.array(found.bias), labels) <= best.fun + 1e-9
    assert found.temperature == pytest.approx(1 / best.x[0], rel=1e-2)
    assert found.bias[0] < 0
    assert sum(found.bias) == pytest.approx(0, abs=1e-9)
    assert found.subjects == 400


def test_scores_that_separate_the_classes_get_a_small_temperature_and_an_end():
    logits = np.array([[2.0, -2.0], [1.0, -1.0], [-1.0, 1.0], [-2.0, 2.0]])
    labels = np.array([0, 0, 1, 1])
    found = fit_calibration(logits, labels)
    assert 0.01 <= found.temperature < 0.3
    assert loss(logits / found.temperature + np.array(found.bias), labels) < 1e-3


def test_applied_it_gives_the_calibrated_scores():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.rand(6, 2, 2, 2, dtype=torch.float64)
    before = model(x).detach()
    logits, labels = draw(np.random.default_rng(0), 3)
    calibration = fit_calibration(logits, labels)
    apply_calibration(model, calibration, x[:1])
    expected = before / calibration.temperature + torch.tensor(calibration.bias)
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(probabilities(model(x)).sum(1), torch.ones(6, dtype=torch.float64))


SOME = Calibration(2.0, (0.25, -0.25), 6)


def test_what_cannot_be_calibrated_is_refused():
    logits = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match="none has class 1"):
        fit_calibration(logits, np.zeros(6, int))
    with pytest.raises(ValueError, match="N, classes"):
        fit_calibration(logits[:, 0], np.zeros(6, int))
    with pytest.raises(ValueError, match="wrong class"):
        fit_calibration(np.array([[3.0, 0], [2, 0], [0, 2.5], [0.2, 0]]), np.array([1, 1, 0, 1]))
    with pytest.raises(ValueError, match="linear layer"):
        apply_calibration(nn.Conv3d(1, 2, 1), SOME, torch.zeros(1, 1, 2, 2, 2))


class HeadFirst(nn.Module):
    """Registers its layers in another order than it runs them."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.body = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


def test_a_layer_that_does_not_give_the_outputs_is_left_as_it_is():
    torch.manual_seed(0)
    model, scan = HeadFirst(), torch.rand(1, 1, 2, 2, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="come from elsewhere"):
        apply_calibration(model, SOME, scan)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
