"""The grammar of methods, on a toy method of its own."""

from collections.abc import Sequence
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyadx.explainers import registry
from pyadx.explainers.option_kinds import (
    BYTES,
    NAME,
    SWITCH,
    VOXELS,
    choice,
    number,
    optional,
    parse_bytes,
    whole,
)
from pyadx.explainers.registry import Option, method
from pyadx.explainers.spelling import explainer, parse_method


class Toy:
    def __init__(
        self,
        model,
        window: Annotated[int | Sequence[int], Option("size", VOXELS)] = 7,
        fill: Annotated[float, Option("what boxes hold", number())] = 0.0,
        signed: Annotated[bool, Option("keep the sign", SWITCH)] = False,
        layer: Annotated[str | None, Option("which layer", optional(NAME))] = None,
        score: Annotated[str, Option("what is followed", choice(["probability", "logit"]))] = "logit",
        levels: Annotated[int, Option("how many", whole(2))] = 20,
        *,
        budget_s: Annotated[float | None, Option("seconds", optional(number(above=0)))] = None,
        max_memory: Annotated[int | None, Option("bytes", optional(BYTES), changes_map=False)] = None,
        batch_size=1,
    ):
        self.model, self.batch_size = model, batch_size
        self.window, self.fill, self.signed, self.layer = window, fill, signed, layer
        self.score, self.levels, self.budget_s, self.max_memory = score, levels, budget_s, max_memory


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    presets = {"paper": {"window": 9, "signed": True}}
    method("toy", title="Toy", answers="Nothing?", cost="none", presets=presets)(Toy)


def test_a_bare_name_has_all_defaults():
    spec = parse_method(" toy ")
    assert dict(spec.options) == {
        "window": 7, "fill": 0.0, "signed": False, "layer": None, "score": "logit", "levels": 20,
        "budget_s": None, "max_memory": None,
    }  # fmt: skip
    assert spec.canonical == spec.description == "toy"


@pytest.mark.parametrize(
    ("text", "canonical", "description"),
    [
        ("toy:window=5,fill=1", "toy:window=5,fill=1", "toyWindow5Fill1"),
        ("toy:fill=1.0, window=5x5x5", "toy:window=5,fill=1", "toyWindow5Fill1"),
        ("toy:window=7x7x7,fill=-0.5", "toy:fill=-0.5", "toyFillm0p5"),
        ("toy:window=3x4x5", "toy:window=3x4x5", "toyWindow3x4x5"),
        ("toy:signed", "toy:signed=true", "toySignedtrue"),
        ("toy:signed=FALSE", "toy", "toy"),
        ("toy:layer=conv2b,score=probability", "toy:layer=conv2b,score=probability", None),
        ("toy:paper", "toy:window=9,signed=true", None),
        ("toy:paper,window=7", "toy:signed=true", None),
        ("toy:max_memory=4G", "toy", "toy"),
        ("toy:budget_s=2.50", "toy:budget_s=2.5", "toyBudgetS2p5"),
        ("toy:layer=none", "toy", "toy"),
    ],
)
def test_one_request_has_one_canonical_spelling(text, canonical, description):
    spec = parse_method(text)
    assert spec.canonical == canonical
    assert parse_method(canonical).canonical == canonical
    assert description is None or spec.description == description


def test_descriptions_of_different_spellings_differ_and_fit_into_file_names():
    texts = [
        "toy:levels=3", "toy:fill=1",
        "toy:fill=-1", "toy:fill=0.1", "toy:fill=10", "toy:fill=1e-05", "toy:fill=1e+15",
        "toy:layer=a.b", "toy:layer=ab", "toy:layer=a_b", "toy:layer=a/b", f"toy:layer={'x' * 300}",
        f"toy:layer={'x' * 301}", "toy:window=1x11x1", "toy:window=11x1x1",
    ]  # fmt: skip
    found = [parse_method(text).description for text in texts]
    assert len(set(found)) == len(texts)
    assert all(len(name) <= 60 and name.isalnum() for name in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tyo", ["no method 'tyo'", "did you mean toy", "methods: "]),
        ("", ["no method ''"]),
        ("toy:windw=5", ["toy has no option 'windw'", "did you mean window", "score"]),
        ("toy:window", ["window needs a value", "7x5x5"]),
        ("toy:window=0", ["window must be voxels", "'0'"]),
        ("toy:window=3x3", ["window must be voxels"]),
        ("toy:window=5,window=5", ["window is given twice"]),
        ("toy:fill=nan", ["fill must be a finite number"]),
        ("toy:levels=1", ["levels must be a whole number from 2"]),
        ("toy:score=odds", ["score must be probability, logit", "'odds'"]),
        ("toy:signed=yes", ["signed must be true or false"]),
        ("toy:budget_s=0", ["budget_s must be a number above 0, or none"]),
        ("toy:max_memory=much", ["max_memory must be a size such as 500M"]),
        ("toy:layer=", ["layer must be a name, or none"]),
        ("toy:", ["no option ''"]),
        ("toy:window=5,,fill=1", ["no option ''"]),
        ("toy:window=5,paper", ["preset paper must come before"]),
    ],
)
def test_mistakes_are_told_in_one_line(text, words):
    with pytest.raises(ValueError) as raised:
        parse_method(text)
    message = str(raised.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_an_explainer_gets_its_options_and_the_surroundings_it_knows():
    made = explainer("toy:window=5,max_memory=1K", "a model", batch_size=3, spacing=2.0)
    assert (made.model, made.window, made.max_memory, made.batch_size) == ("a model", 5, 1024, 3)


def test_two_methods_cannot_have_one_name():
    with pytest.raises(ValueError, match="two methods 'toy'"):
        method("toy", title="", answers="", cost="")(int)


def test_options_need_defaults():
    def make(model, window: Annotated[int, Option("size", VOXELS)]): ...

    with pytest.raises(ValueError, match=r"'window' .* needs a default"):
        registry.declared_options(make)


@given(
    st.tuples(st.integers(1, 99), st.integers(1, 99), st.integers(1, 99)),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
)
def test_what_is_written_is_read_back(window, fill, signed):
    text = f"toy:window={'x'.join(map(str, window))},fill={fill!r},signed={str(signed).lower()}"
    spec = parse_method(text)
    again = parse_method(spec.canonical)
    assert again.canonical == spec.canonical
    assert again.options["signed"] is signed
    assert again.options["fill"] == fill


@pytest.mark.parametrize(("text", "size"), [("500M", 500 << 20), ("8g", 8 << 30), ("1.5KiB", 1536)])
def test_sizes(text, size):
    assert parse_bytes(text) == size
