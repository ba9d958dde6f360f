"""A checkpoint keeps the reference images of a network, and is refused where they are none."""

import json
import random

import numpy as np
import pytest
import torch
from models.test_checkpoints import changed_card, rewritten
from torch import nn

from pyadx import models
from pyadx.inference.wrappers import described
from pyadx.models.checkpoints import copy_with_card

safetensors = pytest.importorskip("safetensors.torch")

GRID = (16, 17, 18)
FACTS = {"control": {"scans": 45, "matching": "none"}, "patient": {"scans": 3, "refused": "3 scans"}}


@pytest.fixture
def model():
    return models.build("resnet-shallow-gap", GRID, ("control", "patient"), seed=1)


@pytest.fixture
def image():
    return torch.rand(GRID, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(model, image, tmp_path):
    models.save(models.with_references(model, {"control": image}, FACTS), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def tensors(path):
    return safetensors.load_file(path)


def test_a_network_has_none_of_its_own(model, tmp_path):
    assert model.references == {}
    assert model.card.references == {}
    models.save(model, tmp_path / "net.safetensors")
    assert models.load(tmp_path / "net.safetensors").references == {}
    assert not [name for name in tensors(tmp_path / "net.safetensors") if "reference" in name]


def test_round_trip(path, model, image):
    assert tensors(path)["reference.control"].dtype == torch.float16
    loaded = models.load(path)
    assert loaded.card.references == model.card.references == FACTS
    assert list(loaded.references) == ["control"]
    own = loaded.references["control"]
    assert own.dtype == torch.float32
    assert torch.equal(own, image.half().float())
    assert torch.equal(own, model.references["control"])
    # Half a unit in the last place of 11 bits, or of the smallest number.
    assert ((own.double() - image.double()).abs() <= image.double() * 2.0**-11 + 2.0**-25).all()
    before = path.read_bytes()
    models.save(loaded, path)
    assert path.read_bytes() == before


def test_weights_and_their_fingerprint_do_not_know_of_references(path):
    with_one, without = models.load(path), models.load(path)
    models.with_references(without, {})
    assert without.references == without.card.references == {}
    assert models.fingerprint(with_one) == models.fingerprint(without)
    assert not [name for name in with_one.state_dict() if "reference" in name]


def test_images_are_copied_and_may_lie_anywhere_in_memory(model, image):
    turned = image.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    models.with_references(model, {"control": turned.double().requires_grad_()})
    assert torch.equal(model.references["control"], image.half().float())
    assert model.references["control"].is_contiguous()
    assert not model.references["control"].requires_grad
    turned.zero_()
    assert model.references["control"].any()


def test_another_card_keeps_and_adds_references(path, image):
    for _ in range(2):
        copy_with_card(path, path, lambda card: card)
    assert torch.equal(models.load(path).references["control"], image.half().float())
    copy_with_card(path, path, lambda card: card, {"patient": 2 * image})
    both = models.load(path).references
    assert torch.equal(both["control"], image.half().float())
    assert torch.equal(both["patient"], (2 * image).half().float())


def test_half_precision_weights_stay_so_beside_references(path, tmp_path):
    models.save(models.load(path), path, dtype=torch.float16)
    before = tensors(path)
    copy_with_card(path, tmp_path / "new.safetensors", lambda card: card)
    after = tensors(tmp_path / "new.safetensors")
    assert before.keys() == after.keys()
    assert all(after[n].dtype == t.dtype and torch.equal(after[n], t) for n, t in before.items())


def test_pickles_may_carry_references(model, image, tmp_path):
    path = tmp_path / "net.pt"
    content = {"card": model.card.to_dict(), "state_dict": model.state_dict()}
    torch.save({**content, "references": {"patient": image}}, path)
    assert torch.equal(models.load(path).references["patient"], image.half().float())
    torch.save(content, path)
    assert models.load(path).references == {}
    for wrong in ([image], {"patient": 3}, None, {5: image}, {"patient": image.to_sparse()}):
        torch.save({**content, "references": wrong}, path)
        with pytest.raises(ValueError, match=r"net\.pt: ") as refused:
            models.load(path)
        assert "\n" not in str(refused.value)


def test_cards_of_older_versions_are_read(path):
    def without(header):
        card = json.loads(header["__metadata__"]["pyadx"])
        del card["references"]
        header["__metadata__"]["pyadx"] = json.dumps(card)

    rewritten(path, without)
    loaded = models.load(path)
    assert loaded.card.references == {}
    assert "control" in loaded.references


BAD = [
    (lambda image: {"control": image[:-1]}, r"shape \(15, 17, 18\), expected \(16, 17, 18\)"),
    (lambda image: {"control": image[None]}, "has shape"),
    (lambda image: {"control": torch.zeros(0)}, "has shape"),
    (lambda image: {"nobody": image}, "'nobody', which is not a class; the classes are control, patient"),
    (lambda image: {"control": image * float("nan")}, "NaN or infinity"),
    (lambda image: {"control": image / 0}, "NaN or infinity"),
    (lambda image: {"control": image * 1e6}, "too large for the half precision"),
    (lambda image: {"control": image * 0}, "only zeros"),
    (lambda image: {"control": image.to(torch.int32)}, "floating-point"),
    (lambda image: {"control": image.to(torch.complex64)}, "floating-point"),
    (lambda image: {"control": image.to("meta")}, "floating-point"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_images_that_are_none_are_refused(make, words, path, model, image):
    before, facts, own = path.read_bytes(), model.card.references, model.references
    with pytest.raises(ValueError, match=words):
        models.with_references(model, make(image))
    assert model.card.references is facts
    assert model.references is own
    model.references = make(image)
    with pytest.raises(ValueError, match=words):
        models.save(model, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("make", "words"), BAD[:-1])
def test_files_that_hold_none_are_refused_in_one_line(make, words, path, image):
    metadata = {"pyadx": safetensors.safe_open(path, "pt").metadata()["pyadx"]}
    weights = {name: t for name, t in tensors(path).items() if not name.startswith("reference.")}
    wrong = {f"reference.{name}": image.contiguous() for name, image in make(image).items()}
    safetensors.save_file({**weights, **wrong}, path, metadata=metadata)
    with pytest.raises(ValueError, match=words) as refused:
        models.load(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("facts", [5, [["control", {}]], {"nobody": {}}, {"control": 5}], ids=str)
def test_cards_that_lie_about_references_are_refused(facts, path):
    rewritten(path, changed_card(references=facts))
    with pytest.raises(ValueError, match="references must map") as refused:
        models.load(path)
    assert str(refused.value).startswith(str(path))


def test_facts_about_no_class_and_images_for_no_network_are_refused(model, image):
    with pytest.raises(ValueError, match="'nobody', which is not a class"):
        models.with_references(model, {"control": image}, {"nobody": {}})
    with pytest.raises(ValueError, match=r"built or loaded by pyadx\.models"):
        models.with_references(nn.Linear(1, 1), {})
    with pytest.raises(ValueError, match="must be a tensor, got ndarray"):
        models.with_references(model, {"control": np.ones(GRID)})


def test_damaged_headers_are_answered_or_refused_in_one_line(path):
    """The name, shape, dtype and place of the reference and the card's facts, with bytes changed."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    places = [data.index(b'"reference.control"'), data.index(b'\\"references\\"')]
    source, refusals = random.Random(0), []
    for _ in range(200):
        changed = bytearray(data)
        for _ in range(source.randint(1, 2)):
            at = source.choice(places) + source.randrange(110)
            changed[min(at, size + 7)] = source.choice(b'0123456789{}[]",:FIx\x00\xff')
        path.write_bytes(changed)
        try:
            loaded = models.load(path)
        except ValueError as error:
            refusals.append(str(error))
        else:
            assert all(tuple(image.shape) == GRID for image in loaded.references.values())
    assert len(refusals) > 100
    assert all(text.startswith(str(path)) and "\n" not in text for text in refusals)


WRAPPERS = {
    "none": lambda model: model,
    "parallel": nn.DataParallel,
    "compiled": torch.compile,
    "compiled-and-parallel": lambda model: nn.DataParallel(torch.compile(model)),
}


@pytest.mark.parametrize("wrapped", WRAPPERS)
def test_references_are_found_inside_wrappers(wrapped, model, image):
    models.with_references(model, {"control": image})
    outer = WRAPPERS[wrapped](model)
    assert described(outer, "references").references is model.references
    outer.references = {}
    assert described(outer, "references").references == {}
