"""Tests of operators run them three times: on the CPU, as CUDA kernels on the host, on a CUDA GPU."""

import emulated
import pytest
import torch
from conftest import cuda_skip_reason


@pytest.fixture(params=["cpu", "emulated", "cuda"])
def device(request, monkeypatch):
    if request.param == "cuda" and (reason := cuda_skip_reason()):
        pytest.skip(reason)
    if request.param == "emulated":
        emulated.library()
        monkeypatch.setattr(torch.ops, "pyadx", torch.ops.pyadx_emulated)
        monkeypatch.setattr("pyadx.ops.segmentation._DEVICE", "cpu")
        return torch.device("cpu")
    return torch.device(request.param)


@pytest.fixture
def is_emulated(request):
    return request.node.callspec.params.get("device") == "emulated"
