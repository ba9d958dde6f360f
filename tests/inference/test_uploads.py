"""What a GPU would wait for: copies of small arrays, and looks of the host at results, per batch."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pyadx import models
from pyadx.inference import IncrementalScorer
from pyadx.inference.incremental import batches
from pyadx.inference.incremental.uploads import flattened, on_device, split_like

# Each of these makes the host wait for a GPU.
LOOKS = ("_local_scalar_dense", "nonzero", "is_nonzero", "item", "equal", "unique")


class Looks(TorchDispatchMode):
    """Count the operators at which the host would wait."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in LOOKS:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def arrays(generator):
    shapes = [(4, 6), (1, 6), (0, 3), (7,), (2, 3, 5)]
    return [generator.integers(-9, 9, shape).astype(np.int32) for shape in shapes]


def test_arrays_come_back_from_one_copy_as_they_were():
    given = arrays(np.random.default_rng(0))
    given.append(given[0].T)  # not contiguous
    for found, one in zip(split_like(flattened(given), given), given, strict=True):
        assert found.dtype == torch.int32
        assert found.is_contiguous()
        np.testing.assert_array_equal(found.numpy(), one)
    for found, one in zip(on_device(given, torch.device("cpu")), given, strict=True):
        np.testing.assert_array_equal(found.numpy(), one)


def test_parts_on_another_device_share_one_storage():
    given = arrays(np.random.default_rng(1))
    found = on_device(given, torch.device("meta"))
    assert [tuple(one.shape) for one in found] == [one.shape for one in given]
    assert len({one.untyped_storage()._cdata for one in found if one.numel()}) == 1


def test_other_numbers_are_refused():
    with pytest.raises(TypeError, match="must be int32, got int64"):
        on_device([np.zeros(3, np.int64)], torch.device("cpu"))


def networks():
    yield "boxes to the scores", models.build("resnet-shallow-gap", (48, 48, 48), seed=0).eval()
    layers = (
        nn.Conv3d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.InstanceNorm3d(4),
        nn.Flatten(),
        nn.Linear(4 * 48**3, 2),
    )
    yield "whole maps behind boxes", nn.Sequential(*layers).eval()


@pytest.mark.parametrize("slots", ["exact", "canonical"])
@pytest.mark.parametrize(
    ("name", "model"), networks(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_batch_is_one_copy_and_no_look(name, model, slots, monkeypatch):
    """Twice as many batches make twice as many copies, and not one look more."""
    monkeypatch.setenv("PYADX_SLOTS", slots)
    scan = torch.rand(1, 1, 48, 48, 48, generator=torch.Generator().manual_seed(0))
    boxes = np.array(
        [[z, y, 20, z + 5, y + 5, 25] for z in (8, 16, 24, 30) for y in (8, 14, 20, 28)], np.int32
    )
    copies, send = [], batches.on_device
    monkeypatch.setattr(batches, "on_device", lambda *given: (copies.append(1), send(*given))[1])
    seen = {}
    for size in (4, 2):
        scorer = IncrementalScorer(model, scan, 1, batch_size=size)
        scorer.score(boxes)  # caches maps
        copies.clear()
        with Looks() as looks:
            scorer.score(boxes)
        seen[size] = (len(copies), looks.found)
    assert seen[2][0] == 2 * seen[4][0] >= 4
    assert seen[2][1] == seen[4][1]
