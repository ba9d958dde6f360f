"""Networks of the user's own: their cards, from Python and from TOML."""

import json

import numpy as np
import pytest
import torch

import pyadx
from pyadx.models import ModelCard, Preprocessing, build, load, read_card, save, wrap

GRID = (8, 9, 10)


class Own(torch.nn.Module):
    def __init__(self, channels=1, outputs=2):
        super().__init__()
        self.conv = torch.nn.Conv3d(channels, 3, 3, padding=1)
        self.head = torch.nn.Linear(3, outputs)

    def forward(self, x):
        features = torch.relu(self.conv(x)).mean((2, 3, 4))
        return {"features": features, "scores": self.head(features)}


def toml(tmp_path, text):
    path = tmp_path / "card.toml"
    path.write_text(text)
    return path


def test_defaults_leave_no_trace_in_files():
    kept = ModelCard("vggnet").to_dict()
    assert list(kept) == [
        "architecture", "in_shape", "class_names", "preprocessing", "trained", "provenance", "references",
    ]  # fmt: skip
    assert ModelCard.from_dict(kept) == ModelCard("vggnet")


def test_other_values_are_written_and_read():
    card = ModelCard("own", GRID, ("age",), channels=3, task="regression", output="scores")
    assert ModelCard.from_dict(card.to_dict()) == card
    assert ModelCard("own", output=np.int64(1)).to_dict()["output"] == 1


@pytest.mark.parametrize(
    "change",
    [{"channels": 0}, {"channels": 1.5}, {"channels": True}, {"task": "guess"}, {"output": 1.5}],
)
def test_values_that_cannot_be_meant_are_refused(change):
    (name,) = change
    with pytest.raises((ValueError, TypeError), match=name):
        ModelCard("own", **change)
    with pytest.raises(ValueError, match=name):
        ModelCard.from_dict(ModelCard("own").to_dict() | change)


def test_task_of_a_checkpoint_survives_the_file(tmp_path):
    model = build("resnet-shallow-gap", (20, 20, 20), seed=0)
    save(model, tmp_path / "net.safetensors", task="regression")
    assert load(tmp_path / "net.safetensors").card.task == "regression"


def test_a_wrapped_network_needs_no_further_word_from_its_user():
    torch.manual_seed(0)
    module = Own(channels=2).eval()
    scans = torch.rand(1, 2, *GRID)
    said = pyadx.Occlusion(module, window=4, stride=4, output="scores")(scans, target=1)
    model = wrap(module, in_shape=GRID, class_names=("NC", "AD"), channels=2, output="scores")
    assert model is module
    assert model.class_names == ("NC", "AD")
    assert model.references == {}
    assert model.card.preprocessing == Preprocessing()
    found = pyadx.Occlusion(model, window=4, stride=4)(scans, target="AD")
    torch.testing.assert_close(found, said)
    for method in (pyadx.GradCAM(model, layer="conv"), pyadx.LayerCAM(model, layer="conv")):
        assert method(scans, target="AD").shape == (1, *GRID)


def test_a_wrapped_regression_is_followed_in_its_units():
    torch.manual_seed(0)
    module = Own(outputs=1).eval()
    scans = torch.rand(1, 1, *GRID)
    said = pyadx.Occlusion(module, window=4, stride=4, output="scores", score="output")(scans)
    model = wrap(module, in_shape=GRID, class_names=("age",), task="regression", output="scores")
    torch.testing.assert_close(pyadx.Occlusion(model, window=4, stride=4)(scans), said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"in_shape": (8, 9)}, "three lengths"),
        ({"in_shape": 8}, "in_shape must be a sequence"),
        ({"class_names": "AD"}, "class_names must be a sequence"),
        ({"class_names": ("AD", "AD")}, "differ"),
        ({"class_names": ()}, "names"),
        ({"task": "guess"}, "task"),
    ],
)
def test_wrap_refuses_in_one_line(change, words):
    with pytest.raises(ValueError, match=words) as error:
        wrap(Own(), **({"in_shape": GRID, "class_names": ("NC", "AD")} | change))
    assert "\n" not in str(error.value)


def test_wrap_takes_modules_only_and_overwrites_nothing_of_theirs():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        wrap(lambda x: x, in_shape=GRID, class_names=("NC", "AD"))
    module = Own()
    module.card = {"mine": 1}
    with pytest.raises(ValueError, match="attribute 'card' of its own"):
        wrap(module, in_shape=GRID, class_names=("NC", "AD"))
    assert module.card == {"mine": 1}


def test_a_network_can_be_wrapped_again():
    model = wrap(Own(), in_shape=GRID, class_names=("NC", "AD"))
    assert wrap(model, in_shape=GRID, class_names=("NC", "MCI")).class_names == ("NC", "MCI")


def test_a_card_is_read_from_toml(tmp_path):
    path = toml(
        tmp_path,
        'in_shape = [8, 9, 10]\nspacing = 1\nintensity = "zscore"\nclass_names = ["age"]\n'
        'channels = 2\ntask = "regression"\noutput = "scores"\n',
    )
    assert read_card(path, "Own") == ModelCard(
        "Own", GRID, ("age",), Preprocessing("zscore", 1), True,
        channels=2, task="regression", output="scores",
    )  # fmt: skip
    path = toml(tmp_path, 'in_shape = [8, 9, 10]\nclass_names = ["NC", "AD"]\nspacing = "none"')
    assert read_card(path, "Own").preprocessing == Preprocessing(spacing=None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('in_shape = [8, 9, 10]\nclas_names = ["NC", "AD"]', "did you mean 'class_names'"),
        ('zzz = 1\nclass_names = ["NC", "AD"]', "known keys are in_shape"),
        ('class_names = ["NC", "AD"]', "in_shape missing"),
        ('in_shape = 8\nclass_names = ["NC", "AD"]', "in_shape must be a list"),
        ('in_shape = [8, 9]\nclass_names = ["NC", "AD"]', "three lengths"),
        ("in_shape = [8, 9, 10]\nclass_names = [1, 2]", "class_names"),
        ('in_shape = [8, 9, 10]\nclass_names = ["NC", "AD"]\nspacing = "2 mm"', "number of mm"),
        ('in_shape = [8, 9, 10]\nclass_names = ["NC", "AD"]\nspacing = [1, 1, 1]', "number of mm"),
        ('in_shape = [8, 9, 10]\nclass_names = ["NC", "AD"]\nintensity = "min"', "intensity must be"),
        ('in_shape = [8, 9, 10]\nclass_names = ["NC", "AD"]\ntask = ["regression"]', "task"),
        ('in_shape = [8, 9, 10]\nclass_names = ["NC", "AD"]\nchannels = "2"', "whole number"),
        ("in_shape = [8,", "not a TOML file"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line_that_begins_with_the_file(tmp_path, text, words):
    path = toml(tmp_path, text)
    with pytest.raises(ValueError, match=words) as error:
        read_card(path, "Own")
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.toml: cannot be read"):
        read_card(tmp_path / "none.toml", "Own")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"orientation": "RAR"}, "orientation must be axis codes such as 'RAS'"),
        ({"orientation": "ras"}, "orientation"),
        ({"percentiles": (9, 3)}, "percentiles must be two numbers"),
        ({"percentiles": (0, 101)}, "percentiles"),
        ({"intensity": "fixed"}, "'fixed' needs a mean and a std above 0"),
        ({"intensity": "fixed", "mean": 0.0, "std": 0.0}, "needs a mean and a std above 0"),
        ({"mean": 1.0}, "mean and std belong to intensity 'fixed', not to 'max'"),
    ],
)
def test_preprocessing_that_cannot_be_meant_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**change)
    lines = "\n".join(
        f"{key} = {list(value) if isinstance(value, tuple) else value!r}" for key, value in change.items()
    )
    with pytest.raises(ValueError, match=message):
        read_card(toml(tmp_path, f"in_shape = [8, 9, 10]\nclass_names = ['a', 'b']\n{lines}"), "own")


def test_preprocessing_is_read_from_toml_and_survives_a_file(tmp_path):
    text = "orientation = 'LPS'\nintensity = 'percentiles'\npercentiles = [2, 98]"
    card = read_card(toml(tmp_path, f"in_shape = [8, 9, 10]\nclass_names = ['a', 'b']\n{text}"), "own")
    assert card.preprocessing == Preprocessing("percentiles", 2.0, "LPS", (2, 98))
    assert ModelCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
