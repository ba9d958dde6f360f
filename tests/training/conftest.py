import numpy as np
import pytest

from pyadx.data.cohort import ScanRecord
from pyadx.data.inputs import PreparedScans
from pyadx.models import ModelCard, Preprocessing
from pyadx.training import Hardware, Protocol, Recipe

GRID = (18, 17, 16)


@pytest.fixture
def hardware():
    pytest.importorskip("lightning_fabric")
    pytest.importorskip("sklearn")
    return Hardware("cpu")


@pytest.fixture
def recipe():
    card = ModelCard("resnet-shallow-gap", GRID, preprocessing=Preprocessing("max", 2.0))
    return Recipe(card, Protocol("sgd", 1e-3, batch_size=4, epochs=3), seed=1)


def make_scans(count=12, seed=0, signal=0.5):
    """Noise; scans of class 1 are brighter by ``signal`` in one corner."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    volumes = random.random((count, *GRID), np.float32)
    volumes[labels == 1, :9] += np.float32(signal)
    from pathlib import Path

    records = tuple(
        ScanRecord(Path(f"s{i}"), f"s{i:02}", "AD" if label else "NC", f"s{i}")
        for i, label in enumerate(labels)
    )
    return PreparedScans(volumes, records, labels, tuple(f"{i:064x}" for i in range(count)), ())


@pytest.fixture
def scans():
    return make_scans()
