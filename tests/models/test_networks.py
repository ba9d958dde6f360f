import pytest
import torch

from pyadx import models

PARAMETERS = {
    "vggnet": 375_210,
    "resnet": 3_205_026,
    "resnet-gap": 3_073_826,
    "resnet-shallow-gap": 527_458,
}
# Spatial size and channels after the named layers, from the published layer tables.
VGGNET = {
    "conv1a": (8, 108), "conv1b": (8, 106), "pool1": (8, 53),
    "conv2a": (16, 51), "conv2b": (16, 49), "pool2": (16, 24),
    "conv3a": (32, 22), "conv3b": (32, 20), "conv3c": (32, 18), "pool3": (32, 9),
    "conv4a": (64, 7), "conv4b": (64, 5), "conv4c": (64, 3), "pool4": (64, 1),
}  # fmt: skip
RESNET = {
    "conv1a": (32, 110), "bn1a": (32, 110), "conv1b": (32, 110), "bn1b": (32, 110), "conv1c": (64, 55),
    "voxres2": (64, 55), "voxres3": (64, 55), "bn4": (64, 55), "relu4": (64, 55), "conv4": (64, 28),
    "voxres5": (64, 28), "voxres6": (64, 28), "bn7": (64, 28), "relu7": (64, 28), "conv7": (128, 14),
    "voxres8": (128, 14), "voxres9": (128, 14), "voxres9_out": (128, 14), "pool10": (128, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name):
    assert sum(p.numel() for p in models.build(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(("name", "table"), [("vggnet", VGGNET), ("resnet", RESNET)])
def test_layer_table(name, table):
    with torch.device("meta"):
        model = models.ARCHITECTURES[name]().eval()
    seen = {}

    def watch(layer):
        def hook(module, args, out):
            assert out.shape[2] == out.shape[3] == out.shape[4]
            seen[layer] = (out.shape[1], out.shape[2])

        model.get_submodule(layer).register_forward_hook(hook)

    for layer in table:
        watch(layer)
    assert model(torch.empty(2, 1, 110, 110, 110, device="meta")).shape == (2, 2)
    assert seen == table


def test_head_of_vggnet_has_the_published_order():
    names = [name for name, _ in models.build("vggnet").named_children()]
    assert names[-7:] == ["fc5", "relu5", "bn5", "drop5", "fc6", "relu6", "fc7"]
    assert models.build("vggnet").drop5.p == 0.7


def test_gap_variants_are_cut_where_the_paper_cuts():
    shallow = dict(models.build("resnet-shallow-gap").named_children())
    assert "relu4" in shallow
    assert "conv4" not in shallow
    assert "voxres9_out" in dict(models.build("resnet-gap").named_children())


def test_initialisation_is_glorot_uniform_with_zero_biases():
    model = models.build("vggnet", seed=0)
    bound = (6 / (32 * 27 + 32 * 27)) ** 0.5
    assert model.conv3b.weight.abs().max().item() == pytest.approx(bound, rel=1e-2)
    assert model.conv3b.bias.abs().max() == 0
    norms = [m for m in models.build("resnet").modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-4, 0.1)}


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = models.build("vggnet", seed=3), models.build("vggnet", seed=3)
    assert torch.rand(1) == expected
    assert (
        models.fingerprint(one)
        == models.fingerprint(two)
        != models.fingerprint(models.build("vggnet", seed=4))
    )


@pytest.mark.parametrize(("name", "least"), [("vggnet", 100), ("resnet", 49)])
def test_too_small_a_shape_is_refused_with_the_minimum(name, least):
    with torch.device("meta"):
        models.ARCHITECTURES[name](in_shape=(least, 110, 120))
    with pytest.raises(ValueError, match=f"at least {least}x{least}x{least}"):
        models.build(name, (110, least - 1, 110))


@pytest.mark.parametrize("name", ["resnet-gap", "resnet-shallow-gap"])
def test_gap_networks_take_non_cubic_shapes(name):
    model = models.build(name, (16, 20, 9), class_names=("a", "b", "c")).eval()
    assert model(torch.rand(2, 1, 16, 20, 9)).shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("alexnet",), "vggnet, resnet"),
        (("vggnet", (110, 110)), "three positive lengths"),
        (("vggnet", (110, 110, 0)), "three positive lengths"),
        (("resnet", (110, 110, 110), ("AD",)), "two or more"),
        (("resnet", (110, 110, 110), ("AD", "AD")), "different names"),
    ],
)
def test_wrong_use_is_told(arguments, words):
    with pytest.raises(ValueError) as raised:
        models.build(*arguments)
    assert words in str(raised.value)
