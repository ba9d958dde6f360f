import json
import os
import struct

import pytest
import torch

from pyadx import models
from pyadx.models import Preprocessing
from pyadx.models.demonstration import NETWORKS, demonstration_checkpoint

safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture
def model():
    return models.build(
        "resnet-shallow-gap", (20, 21, 22), ("control", "patient"), Preprocessing("zscore", None), seed=1
    )


def test_round_trip_keeps_weights_card_and_outputs(model, tmp_path):
    path = tmp_path / "net.safetensors"
    models.save(model, path, trained=True, provenance={"epochs": 150})
    loaded = models.load(path)
    assert models.fingerprint(loaded) == models.fingerprint(model)
    assert loaded.card.in_shape == (20, 21, 22)
    assert loaded.card.preprocessing == Preprocessing("zscore", None)
    assert loaded.card.trained
    assert loaded.card.provenance == {"epochs": 150}
    assert loaded.class_names == ("control", "patient")
    assert not loaded.training
    assert all(p.requires_grad for p in loaded.parameters())
    scan = torch.rand(1, 1, 20, 21, 22)
    assert torch.equal(loaded(scan), model.eval()(scan))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_precision_come_back_as_float32(model, tmp_path, dtype):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    models.save(model, whole)
    models.save(model, half, dtype=dtype)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    loaded = models.load(half).state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        expected = tensor.to(dtype).to(tensor.dtype) if tensor.is_floating_point() else tensor
        assert torch.equal(loaded[name], expected)


def test_demonstration_networks_are_trained_and_small_and_carry_their_record():
    total = 0
    for name in NETWORKS:
        file = demonstration_checkpoint(name)
        total += file.stat().st_size
        card = models.load(file).card
        assert card.architecture == name
        assert card.trained
        assert card.provenance["held_out"]["auc"] > 0.85
        assert {"temperature", "bias", "subjects"} == set(card.provenance["calibration"])
        assert {own["scans"] for own in card.references.values()} == {93, 86}
        assert (
            len(card.provenance["training_scans"]) == {"vggnet": 76 + 179, "resnet-shallow-gap": 76}[name]
        )
    assert total < 10_000_000
    with pytest.raises(ValueError, match="vggnet and resnet-shallow-gap"):
        demonstration_checkpoint("resnet")


def test_plain_pickle_is_read_and_code_is_not_run(model, tmp_path):
    plain = tmp_path / "net.pt"
    torch.save({"card": model.card.to_dict(), "state_dict": model.state_dict()}, plain)
    assert models.fingerprint(models.load(plain)) == models.fingerprint(model)

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    torch.save({"card": Bomb(), "state_dict": {}}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match=r"bomb\.pt: cannot be read as plain weights"):
        models.load(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


def rewritten(path, change):
    """Change the JSON header of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def changed_card(**changes):
    def change(header):
        card = json.loads(header["__metadata__"]["pyadx"])
        card.update(changes)
        header["__metadata__"]["pyadx"] = json.dumps(card)

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p.unlink(), "no such checkpoint"),
        (lambda p: p.write_bytes(b""), "damaged"),
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), "damaged"),
        (lambda p: p.write_bytes(b"\xff" * 8 + p.read_bytes()[8:]), "damaged"),
        (lambda p: rewritten(p, lambda h: h.pop("__metadata__")), "no model card"),
        (lambda p: rewritten(p, lambda h: h["__metadata__"].update(pyadx="{")), "not JSON"),
        (lambda p: rewritten(p, lambda h: h["__metadata__"].update(pyadx="[]")), "damaged"),
        (lambda p: rewritten(p, changed_card(architecture="gpt")), "unknown architecture 'gpt'"),
        (lambda p: rewritten(p, changed_card(architecture="vggnet")), "at least 100x100x100"),
        (lambda p: rewritten(p, changed_card(architecture="resnet-gap")), "are missing"),
        (lambda p: rewritten(p, changed_card(in_shape=[10**9, 1, 1])), "in_shape"),
        (lambda p: rewritten(p, changed_card(in_shape=[20, 20])), "in_shape"),
        (lambda p: rewritten(p, changed_card(class_names=["a", "b", "c"])), "has shape"),
        (lambda p: rewritten(p, changed_card(preprocessing={"intensity": "log"})), "intensity"),
        (lambda p: rewritten(p, changed_card(preprocessing=None)), "damaged"),
        (lambda p: safetensors.save_file({"a": torch.ones(1)}, p), "no model card"),
    ],
)
def test_damaged_or_wrong_files_get_one_line_that_names_them(damage, words, model, tmp_path):
    path = tmp_path / "net.safetensors"
    models.save(model, path)
    damage(path)
    with pytest.raises(ValueError) as raised:
        models.load(path)
    text = str(raised.value)
    assert text.startswith(str(path))
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["net.onnx", "net"])
def test_other_suffixes_are_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        models.load(tmp_path / name)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(model, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    models.save(model, path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        with open(args[1], "wb") as file:
            file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors, "save_file", full)
    with pytest.raises(OSError, match="no space left"):
        models.save(model, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_only_safetensors_are_written_and_only_with_a_card(model, tmp_path):
    with pytest.raises(ValueError, match=r"\.safetensors"):
        models.save(model, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"pyadx\.models"):
        models.save(torch.nn.Linear(1, 1), tmp_path / "net.safetensors")


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_advice_for_weights_without_a_card_works(wrapped, tmp_path, monkeypatch):
    """It is code: it is run here as it stands."""
    monkeypatch.chdir(tmp_path)
    model = models.build("resnet-gap", seed=3)
    weights = model.state_dict()
    torch.save({"epoch": 3, "state_dict": weights} if wrapped else weights, "it's mine.pth")
    with pytest.raises(ValueError, match="holds no model card") as refused:
        models.load("it's mine.pth")
    assert "\n" not in str(refused.value)
    code = str(refused.value).partition("become a checkpoint by: ")[2].partition(" # ")[0]
    assert "'resnet-gap'" in code  # recognised by the names of its weights
    exec(code, {})
    loaded = models.load("it's mine.safetensors")
    assert models.fingerprint(loaded) == models.fingerprint(model)
    assert loaded.card.trained


def test_a_pickled_module_is_not_said_to_be_safe_to_load_otherwise(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "net.pth")
    with pytest.raises(
        ValueError, match=r"cannot be read as plain weights \(it holds a torch\.nn"
    ) as refused:
        models.load(tmp_path / "net.pth")
    assert "weights_only" not in str(refused.value)
    assert "state_dict()" in str(refused.value)
    assert "\n" not in str(refused.value)
