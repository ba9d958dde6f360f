"""``pyadx pack``, and what is explained from files of other tools."""

import json
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from own_networks import write_own_network

from pyadx import models
from pyadx.cli import main
from pyadx.models.sources import ModelSource

nib = pytest.importorskip("nibabel")
OWN = ["--weights", "net.pth", "--card", "card.toml"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan = np.random.default_rng(0).random((12, 13, 11), dtype=np.float32)
    nib.save(nib.Nifti1Image(scan, np.diag([2.0, 2, 2, 1])), "scan.nii.gz")
    return write_own_network(tmp_path)


def explain(*options, out="heat.nii.gz"):
    code = main(
        ["explain", "scan.nii.gz", "--method", "occlusion:window=5,stride=4", "-q", "-o", out, *options]
    )
    return code, nib.load(out).get_fdata() if code == 0 else None


def test_a_packed_network_explains_without_its_code(own, tmp_path, capsys):
    assert main(["pack", "net.py:network", *OWN, "-o", "net.pt2"]) == 0
    assert "Small, 1x12x13x11, NC, AD, outputs within 0.0e+00" in capsys.readouterr().out
    _, expected = explain("--model", "net.py:network", *OWN)
    facts = json.loads((tmp_path / "heat.json").read_text())["model"]
    assert (facts["file"], facts["weights"], facts["card"]) == ("net.py:network", "net.pth", "card.toml")
    for name in ("net.py", "net.pth", "card.toml"):
        (tmp_path / name).unlink()
    code, found = explain("--model", "net.pt2", out="packed.nii.gz")
    assert code == 0
    assert np.array_equal(found, expected)
    assert json.loads((tmp_path / "packed.json").read_text())["model"]["architecture"] == "Small"
    assert not list(tmp_path.glob(".*pt2"))


def test_packing_keeps_reference_images(tmp_path):
    model = models.build("resnet-shallow-gap", (41, 41, 41), seed=0)
    models.save(models.with_references(model, {"NC": torch.rand(41, 41, 41)}), tmp_path / "net.safetensors")
    assert main(["pack", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "net.pt2"), "-q"]) == 0
    found = ModelSource.of(tmp_path / "net.pt2").load()
    assert torch.equal(found.references["NC"], models.load(tmp_path / "net.safetensors").references["NC"])
    assert found.card == models.load(tmp_path / "net.safetensors").card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.py:network", *OWN, "-o", "net.onnx"], "net.onnx: a packed network is written as .pt2"),
        (["net.py:network", *OWN, "-o", "there.pt2"], "there.pt2"),
        (["net.py:chance", *OWN[2:], "-o", "net.pt2"], "the packed network has other outputs"),
        (["net.py:branches", *OWN[2:], "-o", "net.pt2"], "cannot be packed: torch.export cannot trace"),
        (["net.py:small", *OWN[2:], "-o", "net.pt2"], "the network fails on a scan of the card's shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_leaves_no_file(own, tmp_path, capsys, arguments, message):
    (tmp_path / "there.pt2").write_text("mine")
    with open("net.py", "a") as file:
        file.write(
            "class Chance(Small):\n    def forward(self, x):\n"
            "        return super().forward(x) + torch.rand(1)\n"
            "class Branches(Small):\n    def forward(self, x):\n"
            "        return super().forward(x) if x.max() < 2 else x\n"
            "chance, branches = Chance(), Branches()\n"
            "small = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))\n"
        )
    assert main(["pack", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "there.pt2").read_text() == "mine"
    assert {path.name for path in tmp_path.glob("*.pt2")} == {"there.pt2"}


def test_an_archive_of_torch_needs_a_card(own, tmp_path, capsys):
    torch.export.save(torch.export.export(own, (torch.rand(1, 1, 12, 13, 11),)), "raw.pt2")
    assert explain("--model", "raw.pt2")[0] == 2
    assert "carries no card; it takes [1, 1, 12, 13, 11]" in capsys.readouterr().err
    code, found = explain("--model", "raw.pt2", "--card", "card.toml")
    assert code == 0
    assert np.allclose(found, explain("--model", "net.py:network", *OWN, out="own.nii.gz")[1], atol=1e-6)
    assert explain("--model", "raw.pt2", *OWN, out="no.nii.gz")[0] == 2
    assert "--weights has no meaning for raw.pt2" in capsys.readouterr().err


def test_onnx(own, tmp_path, capsys):
    if find_spec("onnx2torch") is None or find_spec("onnx") is None:
        pytest.skip("onnx2torch is not installed")
    torch.onnx.export(
        own, (torch.rand(1, 1, 12, 13, 11),), "net.onnx", dynamo=False, opset_version=13, verbose=False
    )
    code, found = explain("--model", "net.onnx", "--card", "card.toml")
    assert code == 0, capsys.readouterr().err
    if find_spec("torchvision") is None:  # onnx2torch imports it; its stand-in must be gone
        assert "torchvision" not in sys.modules
    assert np.allclose(found, explain("--model", "net.py:network", *OWN, out="own.nii.gz")[1], atol=1e-6)


def test_onnx_says_what_it_needs(own, tmp_path, capsys):
    assert explain("--model", "net.onnx")[0] == 2
    assert "net.onnx: carries no card" in capsys.readouterr().err
    (tmp_path / "net.onnx").write_bytes(b"no network")
    assert explain("--model", "net.onnx", "--card", "card.toml")[0] == 2
    told = capsys.readouterr().err
    assert "cannot be read as ONNX" in told or "reading ONNX needs onnx" in told


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """What the Hub answers about one network."""

    def __init__(self, files, *more):
        self.files = files
        super().__init__(*more)

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        if "/api/models/lab/brains" in self.path and "nobody" not in self.path:
            facts = {"id": "lab/brains", "sha": COMMIT, "siblings": [{"rfilename": n} for n in self.files]}
            content = json.dumps({**facts, "modelId": "lab/brains", "private": False}).encode()
        elif self.path.startswith("/lab/brains/resolve/"):
            content = self.files[self.path.rsplit("/", 1)[1]]
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        self.send_response(200)
        for name, value in {"X-Repo-Commit": COMMIT, "ETag": f'"{len(content)}"'}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def test_a_network_on_the_hub(own, tmp_path, monkeypatch, capsys):
    pytest.importorskip("huggingface_hub")
    from pyadx.models.sources import hub

    assert main(["pack", "net.py:network", *OWN, "-o", "net.pt2", "-q"]) == 0
    files = {"net.pt2": (tmp_path / "net.pt2").read_bytes(), "README.md": b"hello"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for name in ("huggingface_hub.constants.ENDPOINT", "huggingface_hub.hf_api.ENDPOINT"):
        monkeypatch.setattr(name, address, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                        address + "/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address, raising=False)
    for name in ("huggingface_hub.constants.HF_HUB_CACHE", "huggingface_hub.file_download.HF_HUB_CACHE"):
        monkeypatch.setattr(name, str(tmp_path / "cache"), raising=False)
    hub.hub_file.cache_clear()
    try:
        code, found = explain("--model", "hf://lab/brains@main")
        assert code == 0, capsys.readouterr().err
        _, expected = explain("--model", "net.pt2", out="own.nii.gz")
        assert np.array_equal(found, expected)
        facts = json.loads((tmp_path / "heat.json").read_text())["model"]
        assert (facts["file"], facts["revision"]) == ("hf://lab/brains@main", COMMIT)
        files["other.onnx"] = b"x"
        hub.hub_file.cache_clear()
        assert explain("--model", "hf://lab/brains", out="no.nii.gz")[0] == 2
        assert "holds 2 files that could be the network; name one" in capsys.readouterr().err
        assert explain("--model", "hf://nobody/nothing", out="no.nii.gz")[0] == 2
        assert "hf://nobody/nothing: cannot be fetched" in capsys.readouterr().err
        assert explain("--model", "hf://lab", out="no.nii.gz")[0] == 2
        assert "expected hf://owner/name" in capsys.readouterr().err
    finally:
        server.shutdown()
