"""Two processes share the regions of a scan, and every one of them gets the map of one process."""

import socket
import subprocess
import sys

import pytest
import torch

from pyadx.inference import shared_among_processes

WORKER = """
import sys
import torch
import torch.distributed as dist
import pyadx
from pyadx.inference import shared_among_processes

torch.set_num_threads(1)
model = pyadx.models.build("resnet-shallow-gap", (21, 22, 23), seed=0)
volume = torch.rand(1, 1, 21, 22, 23, generator=torch.Generator().manual_seed(0))
volume[..., :6] = 0

def maps():
    occlusion = pyadx.Occlusion(model, window=5, stride=2, engine="incremental")
    supervoxels = pyadx.SupervoxelOcclusion(model, signed=True, engine="incremental")
    return {"occlusion": occlusion(volume, 1), "sa3ducm": supervoxels(volume, 1)}

alone = maps()
dist.init_process_group("gloo")
rank = dist.get_rank()
scored = []
kind = pyadx.inference.IncrementalScorer
score_chunk = kind._launch_chunk

def counted(self, regions, tell):
    scored.append(len(regions.boxes))
    return score_chunk(self, regions, tell)

kind._launch_chunk = counted
with shared_among_processes():
    together = maps()
    budget = pyadx.Occlusion(model, window=5, stride=4, budget_s=1)
    stored = pyadx.Occlusion(model, window=5, stride=4)
    for call, words in (
        (lambda: budget(volume, 1), "time budget"),
        (lambda: stored(volume, 1, store=f"{sys.argv[1]}.{rank}"), "store"),
    ):
        try:
            call()
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError(words)
torch.save({"alone": alone, "together": together, "scored": sum(scored)}, f"{sys.argv[1]}/{rank}.pt")
dist.destroy_process_group()
"""


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_two_processes_share_the_work_and_give_the_bytes_of_one(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr",
        "127.0.0.1", "--master-port", str(free_port()), str(script), str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, alone in first["alone"].items():
        assert alone.abs().max() > 0
        assert torch.equal(first["together"][name], alone)
        assert torch.equal(second["together"][name], alone)
    assert abs(first["scored"] - second["scored"]) <= 2 + len(first["alone"]) * 8
    assert min(first["scored"], second["scored"]) > 0


def test_without_a_process_group_it_says_how_to_make_one():
    with pytest.raises(ValueError, match="init_process_group"), shared_among_processes():
        pass
