"""How much time does the training loop add to that of the network?

One epoch with the paper's protocol, scans in memory: ``pyadx.training.train`` (Lightning Fabric, balanced
batches, state and log of the epoch on disk) against a hand-written loop, on the same batches. Both have the
network in channels-last order, which is faster on the CPU; the hand-written loop is also timed in
contiguous order. Neither evaluates the network.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pyadx import models
from pyadx.data.cohort import ScanRecord
from pyadx.data.inputs import PreparedScans
from pyadx.training import Hardware, paper_protocol, train, with_changes
from pyadx.training.batches import balanced_batches

CASES = {"vggnet": ((110, 110, 110), 15), "resnet-shallow-gap": ((55, 55, 55), 12)}


def cohort(shape, count):
    random = np.random.default_rng(0)
    volumes = random.random((count, *shape), np.float32)
    records = tuple(ScanRecord(Path(f"{i}"), f"{i}", "NC", f"{i}") for i in range(count))
    return PreparedScans(volumes, records, np.arange(count) % 2, tuple(map(str, range(count))), ())


def pyadx_call(network, scans, protocol, device, folder):
    fabric = Hardware(device.type).fabric()
    shape = scans.volumes.shape[1:]
    everybody, nobody = np.arange(len(scans.labels)), np.arange(0)

    def call():
        (folder / "last.pt").unlink(missing_ok=True)
        model = models.build(network, shape, seed=0)
        return train(model, scans, everybody, nobody, protocol, fabric=fabric, folder=folder).epochs[-1]

    return call


def plain_call(network, scans, protocol, device, memory_format):
    shape = scans.volumes.shape[1:]
    random = np.random.default_rng([0, 3, 1])
    batches = balanced_batches(scans.labels, protocol.batch_size, random)

    def call():
        model = models.build(network, shape, seed=0).to(device).to(memory_format=memory_format).train()
        optimizer = protocol.make_optimizer(model.parameters())
        for batch in batches:
            x = torch.from_numpy(scans.volumes[batch])[:, None].to(device)
            y = torch.from_numpy(scans.labels[batch]).to(device)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    return call


@pytest.mark.parametrize("name", ["pyadx", "plain loop, channels-last", "plain loop, contiguous"])
@pytest.mark.parametrize("network", CASES)
def test_epoch(network, name, device, timed, tmp_path):
    pytest.importorskip("lightning_fabric")
    shape, count = CASES[network]
    scans = cohort(shape, count)
    protocol = with_changes(paper_protocol(network), {"epochs": 1}, "benchmark")
    ours = pyadx_call(network, scans, protocol, device, tmp_path)
    plain = plain_call(network, scans, protocol, device, torch.channels_last_3d)
    other = plain_call(network, scans, protocol, device, torch.contiguous_format)
    call = {"pyadx": ours, "plain loop, channels-last": plain, "plain loop, contiguous": other}[name]
    epoch = timed(
        f"one epoch, {network}, {count} scans of {shape[0]}^3", name, call, peers=(plain,), rounds=7
    )
    if name == "pyadx" and epoch is not None:
        assert epoch.busy > 0.95
