"""Networks from a user's own code, weights and card."""

from pathlib import Path

import pytest
import torch
from own_networks import BUNDLE_TRANSFORMS, write_bundle, write_own_network

from pyadx import models
from pyadx.models.sources import ModelSource

SCAN = torch.linspace(0, 1, 12 * 13 * 11).reshape(1, 1, 12, 13, 11)


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_own_network(tmp_path)


def source(model="net.py:network", weights="net.pth", card="card.toml", **more):
    given = {"weights": weights, "card": card}
    return ModelSource(model, **{k: v and Path(v) for k, v in given.items()}, **more)


@pytest.mark.parametrize("code", ["net.py:network", "net.py:Small", "net.py:ready", "net:network"])
def test_code_of_the_users_own_with_its_weights(own, code):
    model = source(code).load()
    assert torch.equal(model(SCAN), own(SCAN))
    assert not model.training
    assert model.card.in_shape == (12, 13, 11)
    assert model.card.preprocessing.spacing is None
    assert model.class_names == ("NC", "AD")


def test_a_module_beside_the_code_is_found_and_two_files_of_one_name_are_told_apart(own, tmp_path):
    for folder, width in (("a", 4), ("b", 5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"blocks_{folder}.py").write_text(f"width = {width}")
        (tmp_path / folder / "net.py").write_text(
            f"import torch, blocks_{folder} as b\ndef network():\n    return torch.nn.Conv3d(1, b.width, 1)"
        )
    for folder, width in (("a", 4), ("b", 5)):
        assert source(f"{folder}/net.py:network", None).load().out_channels == width


def test_the_networks_of_pyadx_by_name_with_somebodys_weights(tmp_path):
    card = tmp_path / "card.toml"
    card.write_text('in_shape = [41, 41, 41]\nclass_names = ["NC", "AD"]')
    built = models.build("resnet-shallow-gap", (41, 41, 41), seed=3).eval()
    torch.save(built.state_dict(), tmp_path / "w.pth")
    model = ModelSource("resnet-shallow-gap", tmp_path / "w.pth", card).load()
    scan = torch.rand(1, 1, 41, 41, 41)
    assert torch.equal(model(scan), built(scan))
    with pytest.raises(ValueError, match="is an architecture without weights; give them with --weights"):
        ModelSource("resnet-shallow-gap").load()


def test_a_wrapped_network_needs_no_card(own, tmp_path):
    (tmp_path / "wrapped.py").write_text(
        "import net, pyadx\n"
        "def network():\n"
        "    return pyadx.models.wrap(net.Small(), in_shape=(12, 13, 11), class_names=('a', 'b'))"
    )
    model = source("wrapped.py:network", card=None).load()
    assert torch.equal(model(SCAN), own(SCAN))
    assert model.class_names == ("a", "b")
    assert source("wrapped.py:network").load().class_names == ("NC", "AD")  # a card that is given counts


@pytest.mark.parametrize(
    "form", ["plain", "lightning", "parallel", "compiled", "both", "nested", "safetensors"]
)
def test_weights_as_frameworks_write_them(own, tmp_path, form):
    state = own.state_dict()
    prefix = {"lightning": "model.", "parallel": "module.", "compiled": "_orig_mod.",
              "both": "module._orig_mod."}.get(form, "")  # fmt: skip
    renamed = {prefix + name: tensor for name, tensor in state.items()}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.ckpt")
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(renamed, path)
    elif form == "lightning":  # it may hold weights of the loss, too
        held = {"state_dict": {**renamed, "criterion.weight": torch.ones(2)}, "epoch": 3}
        torch.save(held, path)
    elif form == "nested":
        torch.save({"model_state_dict": renamed, "optimizer": {"lr": 0.1}}, path)
    else:
        torch.save(renamed, path)
    if prefix:
        with pytest.warns(UserWarning, match=f"begin with '{prefix}'"):
            model = source(weights=path).load()
    else:
        model = source(weights=path).load()
    assert torch.equal(model(SCAN), own(SCAN))


def test_weights_in_half_precision_become_the_networks_own(own, tmp_path):
    torch.save(
        {k: t.half() if t.is_floating_point() else t for k, t in own.state_dict().items()}, "half.pth"
    )
    assert all(p.dtype == torch.float32 for p in source(weights="half.pth").load().parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.bias"), "do not fit net.py:network: 1 missing, such as 'head.bias'"),
        (lambda state: state.update(extra=torch.ones(1)), "1 not in the network, such as 'extra'"),
        (lambda state: state.update({"head.bias": torch.ones(3)}), r"'head.bias' has shape \(3,\), expec"),
        (lambda state: state.clear(), "holds no state dict"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(own, change, message):
    state = own.state_dict()
    change(state)
    torch.save(state, "other.pth")
    with pytest.raises(ValueError, match=message):
        source(weights="other.pth").load()


class Evil:
    def __reduce__(self):
        return (Path("ran").write_text, ("x",))


def test_a_pickle_is_not_run(own):
    torch.save({"state_dict": own.state_dict(), "hyper_parameters": Evil()}, "evil.ckpt")
    with pytest.raises(
        ValueError, match=r"evil.ckpt: holds a \S+ beside its weights, which could run code"
    ):
        source(weights="evil.ckpt").load()
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("none.py:network", "none.py: no such file"),
        ("no_such_module_here:network", "no such module"),
        ("net.py:missing", "has no 'missing'; it has Small, Needs, network, fails, gives"),
        ("net.py:Needs", r"needs arguments \(width\); write a function without any, such as def net"),
        ("net.py:fails", r"net.py:fails: its code fails at net.py:\d+ \(NameError: name 'undefined'"),
        ("net.py:gives", "returned int, expected a torch.nn.Module"),
        ("net.py:number", "is of type int, expected a torch.nn.Module, or a function or class that makes"),
        ("broken.py:network", r"broken.py: its code fails at broken.py:1 \(SyntaxError"),
    ],
)
def test_code_that_gives_no_network(own, code, message):
    Path("broken.py").write_text("def network(:")
    with pytest.raises(ValueError, match=message):
        source(code).load()


def test_what_does_not_go_together(own):
    with pytest.raises(ValueError, match="its input is not known; give in_shape and class_names"):
        source(card=None).load()
    with pytest.raises(ValueError, match="--weights has no meaning for demo:vggnet"):
        ModelSource("demo:vggnet", Path("net.pth")).load()
    with pytest.raises(ValueError, match=r"no such file of weights"):
        source(weights="none.pth").load()
    with pytest.raises(ValueError, match=r"a file of weights ends in .safetensors or .pt"):
        source(weights="card.toml").load()


def test_another_code_or_card_is_another_network(own):
    def fingerprint():
        return source().fingerprint(source().load())

    before = fingerprint()
    assert fingerprint() == before
    Path("card.toml").write_text(Path("card.toml").read_text() + 'intensity = "zscore"')
    other_card = fingerprint()
    Path("net.py").write_text(Path("net.py").read_text() + "\n# changed\n")
    assert len({before, other_card, fingerprint()}) == 3


def test_a_source_for_another_folder(own, tmp_path, monkeypatch):
    moved = [source().absolute(), source("net:network").absolute()]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert torch.equal(moved[0].load()(SCAN), own(SCAN))
    assert moved[0].name == "net.py:network"
    assert ModelSource("demo:vggnet").absolute() == ModelSource("demo:vggnet")
    assert moved[1].model == "net:network"


# MONAI bundles


def test_a_bundle_with_its_preprocessing(tmp_path):
    pytest.importorskip("monai")
    expected = write_bundle(tmp_path / "bundle")
    model = ModelSource(str(tmp_path / "bundle"), trust=True).load()
    scan = torch.rand(1, 1, 24, 25, 26)
    assert torch.equal(model(scan), expected(scan))
    card = model.card
    assert (card.in_shape, card.class_names, card.channels) == ((24, 25, 26), ("NC", "AD"), 1)
    prepared = card.preprocessing
    assert (prepared.orientation, prepared.spacing) == ("LPS", 2.0)
    assert (prepared.intensity, prepared.percentiles) == ("percentiles", (0, 100))


def test_a_bundle_is_not_run_unless_it_is_trusted(tmp_path):
    pytest.importorskip("monai")
    write_bundle(tmp_path / "bundle", [{"_target_": "$open('ran', 'w')"}])
    with pytest.raises(ValueError, match="names Python to run; if you trust it, use --trust"):
        ModelSource(str(tmp_path / "bundle")).load()


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"_target_": "CropForegroundd"}, "preprocessing CropForegroundd does not map to a card"),
        ({"_target_": "Resized", "spatial_size": [9, 9, 9]}, "Resized does not map"),
        ({"_target_": "Spacingd", "pixdim": [1, 1, 3]}, r"Spacingd does not map to a card with pixdim="),
        ({"_target_": "NormalizeIntensityd"}, "NormalizeIntensityd does not map to a card with its def"),
        ({"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 9, "clip": True}, "IntensityRanged"),
        ({"_target_": "NormalizeIntensityd", "nonzero": True}, "scales intensities twice"),
    ],
)  # fmt: skip
def test_what_of_a_bundle_does_not_map_is_named(tmp_path, transform, message):
    pytest.importorskip("monai")
    write_bundle(tmp_path / "bundle", [BUNDLE_TRANSFORMS[4], {"keys": "image", **transform}])
    bundle = ModelSource(str(tmp_path / "bundle"), trust=True)
    with pytest.raises(ValueError, match=message + r".*--card card.toml"):
        bundle.load()
    card = tmp_path / "card.toml"
    card.write_text('in_shape = [24, 25, 26]\nclass_names = ["a", "b"]')
    assert ModelSource(bundle.model, card=card, trust=True).load().class_names == ("a", "b")


@pytest.mark.parametrize(
    ("transform", "fields"),
    [
        ({"_target_": "NormalizeIntensityd", "nonzero": True}, {"intensity": "zscore"}),
        ({"_target_": "NormalizeIntensityd", "subtrahend": 3.0, "divisor": 2.0},
         {"intensity": "fixed", "mean": 3.0, "std": 2.0}),
        ({"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 98, "b_min": 0, "b_max": 1,
          "clip": True}, {"intensity": "percentiles", "percentiles": (1.0, 98.0)}),
        ({"_target_": "ScaleIntensityRanged", "a_min": 10, "a_max": 50, "b_min": 0, "b_max": 1},
         {"intensity": "fixed", "mean": 10.0, "std": 40.0}),
    ],
)  # fmt: skip
def test_intensities_of_a_bundle_are_those_of_monai(tmp_path, transform, fields):
    monai = pytest.importorskip("monai.transforms")
    from pyadx.data.intensity import scale_intensity

    write_bundle(tmp_path / "bundle", [{"keys": "image", **transform}])
    prepared = ModelSource(str(tmp_path / "bundle"), trust=True).load().card.preprocessing
    for name, value in fields.items():
        assert getattr(prepared, name) == value
    scan = torch.rand(24, 25, 26, generator=torch.Generator().manual_seed(0)) * 60
    arguments = {key: value for key, value in transform.items() if key != "_target_"}
    theirs = getattr(monai, transform["_target_"].removesuffix("d"))(**arguments)(scan[None])[0]
    assert torch.allclose(torch.from_numpy(scale_intensity(scan.numpy(), prepared)), theirs, atol=1e-5)


def test_a_folder_that_is_no_bundle(tmp_path):
    (tmp_path / "configs").mkdir()
    with pytest.raises(ValueError, match="no MONAI bundle"):
        ModelSource(str(tmp_path), trust=True).load()
