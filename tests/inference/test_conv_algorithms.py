"""Convolutions by tiles or split products: scores stay those of full forwards, choices a patch's own."""

from types import SimpleNamespace
from unittest import mock

import emulated
import numpy as np
import pytest
import torch
from networks import Plain, lively, randomised

from pyadx import models
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.conv_algorithms import ConvAlgorithms, convolver
from pyadx.inference.incremental.operations import convolution
from pyadx.inference.incremental.operations.convolution import Convolution
from pyadx.ops import patches

ONE = (1, 1, 1)
WINDOW = bx.Window((3, 3, 3), ONE, ONE, ONE)
GRID = (20, 17, 24)


def setting(dtype, generator):
    torch.manual_seed(1)
    model = lively(models.build("resnet-shallow-gap", in_shape=GRID), torch.rand(2, 1, *GRID)).to(dtype)
    low = torch.stack([torch.randint(-3, n, (30,), generator=generator) for n in GRID], 1)
    boxes = torch.cat([low, low + torch.randint(1, 9, (30, 3), generator=generator)], 1)
    return model, torch.rand(1, *GRID, generator=generator).to(dtype), boxes


def scores_of(model, scan, boxes, **options):
    return IncrementalScorer(model, scan, 1, score="logit", **options).score(boxes)


@pytest.mark.parametrize("algorithm", ["direct", "toom2", "toom4", "amx", "auto"])
def test_float64_equals_full_forwards_to_ten_digits(algorithm, generator, monkeypatch):
    monkeypatch.setenv("PYADX_CONV", algorithm)
    model, scan, boxes = setting(torch.float64, generator)
    expected = FullScorer(model, scan, 1, score="logit").score(boxes)
    assert expected.max() > 0
    assert (scores_of(model, scan, boxes) - expected).abs().max() < 1e-10 * expected.max()


@pytest.mark.parametrize("algorithm", ["direct", "auto"])
def test_float32_equals_float64_to_five_digits(algorithm, generator, monkeypatch):
    monkeypatch.setenv("PYADX_CONV", algorithm)
    model, scan, boxes = setting(torch.float32, generator)
    actual = scores_of(model, scan, boxes).double()
    expected = scores_of(model.double(), scan.double(), boxes)
    assert (actual - expected).abs().max() < 1e-5 * expected.max()


@pytest.mark.parametrize("algorithm", ["toom2", "toom4", "auto"])
def test_scores_depend_neither_on_the_batch_nor_on_the_order(algorithm, generator, monkeypatch):
    monkeypatch.setenv("PYADX_CONV", algorithm)
    model, scan, boxes = setting(torch.float32, generator)
    order = torch.randperm(len(boxes), generator=generator)
    together = scores_of(model, scan, boxes)
    assert torch.equal(scores_of(model, scan, boxes[order]), together[order])
    assert torch.equal(scores_of(model, scan, boxes, batch_size=3), together)


def test_tiles_are_used_where_they_are_asked_for(generator, monkeypatch):
    """Else the tests above would compare the direct convolution with itself."""
    seen = {}
    original = Convolution._tiles

    def watched(self, *arguments):
        transformed, tiled = original(self, *arguments)
        seen.setdefault(algorithm, []).append(0 if tiled is None else int(tiled.sum()))
        return transformed, tiled

    monkeypatch.setattr(Convolution, "_tiles", watched)
    model, scan, boxes = setting(torch.float32, generator)
    for algorithm in ("direct", "toom2", "toom4", "auto"):
        monkeypatch.setenv("PYADX_CONV", algorithm)
        scores_of(model, scan, boxes)
    assert sum(seen["direct"]) == 0
    assert 0 < sum(seen["auto"]) < sum(seen["toom2"])
    assert sum(seen["toom2"]) == sum(seen["toom4"])


def test_split_products_score_as_full_forwards_do_in_any_batch(generator, monkeypatch):
    """In a small network: emulated products are slow."""
    torch.manual_seed(1)
    layers = (torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(8, 12, 3, padding=1))
    pooled = (torch.nn.ReLU(), torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), torch.nn.Linear(12, 2))
    model = torch.nn.Sequential(*layers, *pooled).eval()
    scan = torch.rand(1, 9, 8, 11, generator=generator)
    low = torch.stack([torch.randint(-3, n, (7,), generator=generator) for n in scan.shape[1:]], 1)
    boxes = torch.cat([low, low + torch.randint(1, 9, (7, 3), generator=generator)], 1)
    monkeypatch.setenv("PYADX_CONV", "direct")
    direct = scores_of(model, scan, boxes)
    monkeypatch.setenv("PYADX_CONV", "amx")
    actual = scores_of(model, scan, boxes)
    assert not torch.equal(actual, direct)  # else they were not used
    assert torch.equal(scores_of(model, scan, boxes.flip(0)).flip(0), actual)
    assert torch.equal(scores_of(model, scan, boxes, batch_size=3), actual)
    expected = scores_of(model.double(), scan.double(), boxes)
    full = FullScorer(model, scan.double(), 1, score="logit").score(boxes)
    assert (expected - full).abs().max() < 1e-10
    assert (actual.double() - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("outputs", "channels", "window", "groups"),
    [
        (64, 64, WINDOW._replace(stride=(2, 1, 1)), 1),
        (64, 64, WINDOW._replace(dilation=(1, 1, 2)), 1),
        (64, 64, WINDOW._replace(kernel=(3, 1, 3)), 1),
        (64, 32, WINDOW, 2),
    ],
    ids=["stride", "dilation", "kernel", "groups"],
)
def test_other_layers_are_convolved_tap_by_tap(outputs, channels, window, groups, monkeypatch):
    boxes = np.array([[10, 10, 10, 20, 20, 20]], np.int32)
    for algorithm in ("toom4", "amx", "auto"):
        monkeypatch.setenv("PYADX_CONV", algorithm)
        made = ConvAlgorithms.of_layer(outputs, channels, window, groups)
        assert not made.by_tiles(boxes, bx.through_window(boxes, window, (40, 40, 40))).any()


def test_large_boxes_take_tiles_and_those_that_are_cut_away_do_not():
    made = ConvAlgorithms.of_layer(64, 64, WINDOW, 1)
    boxes = np.array([[10, 10, 10, 20, 20, 20], [3, 3, 3, 4, 4, 4], [0, 0, 0, 5, 5, 5]], np.int32)
    out_boxes = bx.through_window(boxes, WINDOW, (40, 40, 40))
    out_boxes[2] = [0, 0, 0, 1, 1, 1]
    assert made.by_tiles(boxes, out_boxes).tolist() == [True, False, False]
    direct = np.full(3, np.inf)
    assert np.isfinite(made.multiply_adds(boxes, out_boxes, direct)).tolist() == [True, False, False]
    huge = np.array([[0, 0, 0, 400, 400, 400]], np.int32)  # threads keep a layer of tiles
    assert not made.by_tiles(huge, huge).any()


def test_tiles_lose_no_digits_unless_they_are_asked_for(monkeypatch):
    """Tiles of 4^3 take fewer products, but have four to seven times the error in MONAI's ResNet18."""
    assert ConvAlgorithms.of_layer(512, 512, WINDOW, 1).tile == 2
    monkeypatch.setenv("PYADX_CONV", "toom4")
    assert ConvAlgorithms.of_layer(512, 512, WINDOW, 1).tile == 4


def test_an_unknown_algorithm_is_refused(monkeypatch):
    monkeypatch.setenv("PYADX_CONV", "fft")
    with pytest.raises(
        ValueError, match="PYADX_CONV must be one of auto, direct, toom2, toom4, amx, got 'fft'"
    ):
        ConvAlgorithms.of_layer(8, 8, WINDOW, 1)


def layer_on(device, dtype=torch.float32):
    return SimpleNamespace(device=torch.device(device), dtype=dtype)


def test_cuda_has_the_library_unless_our_kernel_is_asked_for(monkeypatch):
    monkeypatch.delenv("PYADX_CUDA_CONV", raising=False)
    assert [convolver(layer_on(name)) for name in ("cpu", "cuda", "mps")] == ["cpu", "library", "library"]
    monkeypatch.setenv("PYADX_CUDA_CONV", "vendor")
    assert convolver(layer_on("cuda")) == "library"
    monkeypatch.setenv("PYADX_CUDA_CONV", "own")
    assert convolver(layer_on("cuda")) == "tensor_cores"
    assert convolver(layer_on("cpu")) == "cpu"
    assert convolver(layer_on("cuda", torch.float64)) == "library"
    monkeypatch.setenv("PYADX_CUDA_CONV", "cudnn")
    with pytest.raises(ValueError, match="PYADX_CUDA_CONV must be one of vendor, own, got 'cudnn'"):
        convolver(layer_on("cuda"))


def test_scores_by_tensor_cores_are_those_of_the_cpu(generator, monkeypatch):
    emulated.library()
    model = randomised(Plain(1, 2)).eval()
    scan, boxes = torch.rand(1, 12, 11, 13, generator=generator), torch.tensor([[2, 3, 4, 5, 6, 7]])
    expected = scores_of(model, scan, boxes)
    on_the_cpu, works = patches.conv, []

    def conv(*arguments):
        works.append(arguments[-1])
        with mock.patch.object(torch.ops, "pyadx", torch.ops.pyadx_emulated):
            return on_the_cpu(*arguments)

    monkeypatch.setattr(patches, "conv", conv)
    monkeypatch.setattr(convolution, "convolver", lambda weight: "tensor_cores")
    actual = scores_of(model, scan, boxes)
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()
    assert len(works) > 0
    assert all(len(work) > 0 for work in works)
