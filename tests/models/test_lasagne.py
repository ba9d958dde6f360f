"""Checkpoints in the layout that the paper's authors publish."""

import zipfile

import numpy as np
import pytest
import torch

from pyadx import models
from pyadx.models.lasagne import read_lasagne

GRIDS = {
    "vggnet": (100, 100, 100), "resnet": (49, 50, 51), "resnet-gap": (20, 21, 22),
    "resnet-shallow-gap": (20, 21, 22),
}  # fmt: skip
COUNTS = {"vggnet": 30, "resnet-shallow-gap": 44}


def randomised(name):
    """A network whose batch norms are not trivial."""
    model = models.build(name, GRIDS[name], seed=3)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if hasattr(module, "running_var"):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


def as_lasagne(model):
    """Write a network's arrays down in the order of its layers, by hand."""
    arrays = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv3d):
            arrays += [module.weight, module.bias]
        elif isinstance(module, torch.nn.Linear):
            arrays += [module.weight.T, module.bias]
        elif hasattr(module, "running_var"):
            inverse = 1 / torch.sqrt(module.running_var.double() + module.eps)
            arrays += [module.bias, module.weight, module.running_mean, inverse.float()]
    return [a.detach().numpy() for a in arrays]


@pytest.mark.parametrize("name", list(GRIDS))
def test_converted_networks_give_the_same_logits(name, tmp_path):
    model = randomised(name)
    arrays = as_lasagne(model)
    assert len(arrays) == COUNTS.get(name, len(arrays))
    np.savez(tmp_path / "net.npz", *arrays)
    converted = read_lasagne(tmp_path / "net.npz", name, GRIDS[name])
    scan = torch.rand(1, 1, *GRIDS[name])
    with torch.no_grad():
        assert torch.allclose(converted(scan), model(scan), rtol=1e-5, atol=1e-5)


def test_true_convolutions_are_flipped(tmp_path):
    model = randomised("resnet-shallow-gap")
    arrays = [a[:, :, ::-1, ::-1, ::-1] if a.ndim == 5 else a for a in as_lasagne(model)]
    np.savez(tmp_path / "net.npz", *arrays)
    converted = read_lasagne(
        tmp_path / "net.npz", "resnet-shallow-gap", GRIDS["resnet-shallow-gap"], flip_filters=True
    )
    assert torch.equal(converted.conv1b.weight, model.conv1b.weight)


def change_one(arrays, index, value):
    return [value if i == index else a for i, a in enumerate(arrays)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a[:-1], "holds 43 arrays; resnet-shallow-gap has 44"),
        (
            lambda a: change_one(a, 0, a[0][:, :, :2]),
            r"arr_0 has shape \(32, 1, 2, 3, 3\), conv1a.weight needs",
        ),
        (lambda a: change_one(a, 42, a[42].T), r"arr_42 has shape \(2, 64\), fc.weight needs \(64, 2\)"),
        (lambda a: change_one(a, 1, a[1].astype(np.int64)), "arr_1 is int64, expected floats"),
        (lambda a: change_one(a, 1, np.full_like(a[1], np.nan)), "conv1a.bias holds NaN"),
        (lambda a: change_one(a, 1, np.array([print] * 32)), "arr_1 holds pickled objects"),
    ],
)
def test_files_that_do_not_fit_are_told(change, words, tmp_path):
    arrays = change(as_lasagne(models.build("resnet-shallow-gap", (20, 20, 20), seed=0)))
    np.savez(tmp_path / "net.npz", *arrays)
    with pytest.raises(ValueError, match=words):
        read_lasagne(tmp_path / "net.npz", "resnet-shallow-gap", (20, 20, 20))


def test_other_files_are_told(tmp_path):
    path = tmp_path / "net.npz"
    with pytest.raises(ValueError, match="no such file"):
        read_lasagne(path, "vggnet")
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="is not an"):
        read_lasagne(path, "vggnet")
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(44):
            archive.writestr(f"arr_{i}.npy", b"nonsense")
    with pytest.raises(ValueError, match="arr_0 is damaged"):
        read_lasagne(path, "resnet-shallow-gap")
    with pytest.raises(ValueError, match="unknown architecture"):
        read_lasagne(path, "alexnet")
