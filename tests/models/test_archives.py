"""Archives of torch.export: any batch, layers that can be watched, and nothing in them that runs."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from pyadx import GradCAM, Occlusion
from pyadx.models.sources.archives import input_words, read_archive

SHAPE = (12, 13, 11)


class Tokens(nn.Module):
    """Repeats a weight for every scan, and spells shapes out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.token = nn.Parameter(torch.rand(1, 1, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        cells = self.conv(x).flatten(2).transpose(1, 2)
        joined = torch.cat([self.token.expand(x.shape[0], -1, -1), cells], 1)
        return self.head(joined.amax(1)).view(x.shape[0], -1)


class Fixed(nn.Module):
    """Made for one scan."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12 * 13 * 11, 2)

    def forward(self, x):
        return self.head(x.reshape(12 * 13 * 11))[None]


def network(kind=Tokens, seed=0):
    torch.manual_seed(seed)
    return kind().eval()


def scans(count, seed=1):
    return torch.rand(count, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))


def saved(model, path, batch="one"):
    example, shapes = {
        "one": (scans(1), None),
        "any": (scans(2), ({0: Dim("batch")},)),
        "auto": (scans(2), ({0: Dim.AUTO},)),
    }[batch]
    torch.export.save(export(model, (example,), dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize("batch", ["one", "any", "auto"])
def test_an_archive_takes_any_batch_and_is_explained_as_the_network_is(tmp_path, batch):
    model = network()
    found, card = read_archive(saved(model, tmp_path / "net.pt2", batch))
    assert card is None
    assert input_words(found).endswith("1, 12, 13, 11]")
    for count in (1, 3):
        assert torch.allclose(found(scans(count)), model(scans(count)), atol=1e-6)
    maps = [Occlusion(net, window=5, stride=4, engine="incremental")(scans(1)) for net in (found, model)]
    assert torch.equal(*maps)
    assert torch.equal(GradCAM(found)(scans(1)), GradCAM(model, layer="conv")(scans(1)))


def test_an_archive_of_one_scan_stays_one_where_it_must(tmp_path):
    model = network(Fixed)
    found, _ = read_archive(saved(model, tmp_path / "net.pt2"))
    assert torch.equal(found(scans(1)), model(scans(1)))


def rewritten(path, change):
    """Change an archive's files: a dict of names without the root to bytes."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        parts = {name.removeprefix(f"{root}/"): archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(f"{root}/{name}", content)
    return path


class Evil:
    def __reduce__(self):
        return (Path("ran").write_text, ("x",))


def graph(change):
    def edit(parts):
        program = json.loads(parts["models/model.json"])
        change(program)
        parts["models/model.json"] = json.dumps(program).encode()

    return edit


def first_node(program):
    return program["graph_module"]["graph"]["nodes"][0]


def pickled_weight(parts):
    name = next(name for name in parts if name.endswith("_weights_config.json"))
    config = json.loads(parts[name])
    payload = next(iter(config["config"].values()))
    payload["use_pickle"] = True
    parts[name] = json.dumps(config).encode()
    parts["data/weights/weight_0"] = pickle.dumps(Evil())


def pickled_constant(parts):
    name = next(name for name in parts if name.endswith("_constants_config.json"))
    parts[name] = json.dumps({"config": {"c": {"path_name": "opaque_obj_0", "use_pickle": False}}}).encode()


def pickled_inputs(parts):
    held = io.BytesIO()
    torch.save(((Evil(),), {}), held)
    parts["data/sample_inputs/model.pt"] = held.getvalue()


RUNS = "__import__('pathlib').Path('ran').write_text('x')"
ATTACKS = {
    "pickled weight": (pickled_weight, "as a pickle, which could run code"),
    "pickled constant": (pickled_constant, "as a pickle, which could run code"),
    "pickled inputs": (pickled_inputs, "example inputs are not plain tensors"),
    "guard": (graph(lambda p: p.update(guards_code=[RUNS])), "holds the guard"),
    "guard's attribute": (graph(lambda p: p.update(guards_code=["L.__class__ == 1"])), "holds the guard"),
    "size": (
        graph(lambda p: first_node(p)["inputs"].append(
            {"name": "self", "arg": {"as_sym_int": {"as_expr": {"expr_str": RUNS}}}, "kind": 1})),
        "its graph holds the expression",
    ),
    "huge size": (
        graph(lambda p: p["range_constraints"].update({"9**9**9": {"min_val": 0, "max_val": 1}})),
        "its graph holds the expression",
    ),
    "operation": (graph(lambda p: first_node(p).update(target="torch.hub.load")), "is not an operation"),
    "file": (
        graph(lambda p: first_node(p).update(target="torch.ops.aten.save.default")), "reads or writes files"
    ),
    "operation of nobody": (
        graph(lambda p: first_node(p).update(target="torch.ops.aten.nothing.default")), "does not have"
    ),
    "name": (
        graph(lambda p: p["graph_module"]["graph"]["inputs"][0]["as_tensor"].update(name="x): pass#")),
        "holds the name",
    ),
    "class": (
        graph(lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec=json.dumps([1, {"type": "os.system", "context": "null", "children_spec": []}]))),
        "takes or returns a os.system",
    ),
    "library": (lambda parts: parts.update({"data/aotinductor/model/net.so": b"x"}), "is not part of a"),
    "two of a name": (lambda parts: parts.update({"Models/model.json": b"{}"}), "files of the same name"),
    "no graph": (lambda parts: parts.pop("models/model.json"), "no graph in the current format"),
    "no JSON": (lambda parts: parts.update({"models/model.json": b"{"}), "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_could_run_is_refused_before_torch_sees_it(tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    change, message = ATTACKS[attack]
    path = rewritten(saved(network(), tmp_path / "net.pt2"), change)
    with pytest.raises(ValueError, match=rf"net.pt2: .*({message})") as told:
        read_archive(path)
    assert "\n" not in str(told.value)
    assert not Path("ran").exists()


def test_what_is_trusted_is_not_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = rewritten(saved(network(), tmp_path / "net.pt2"), ATTACKS["guard"][0])
    read_archive(path, trust=True)


def test_a_zip_bomb_and_what_is_no_archive(tmp_path):
    bomb = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data/weights/weight_0", b"\0" * 20_000_000)
    with pytest.raises(ValueError, match="would unpack to"):
        read_archive(bomb)
    (tmp_path / "text.pt2").write_text("no zip")
    with pytest.raises(ValueError, match=r"text.pt2: damaged, or not a file of torch.export.save"):
        read_archive(tmp_path / "text.pt2")
    with pytest.raises(ValueError, match="no such file"):
        read_archive(tmp_path / "none.pt2")


def test_every_cut_and_changed_byte_gives_one_line_or_the_network(tmp_path):
    whole = saved(network(), tmp_path / "net.pt2").read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        place = int(torch.randint(len(whole), (), generator=generator))
        changed = bytearray(whole)
        changed[place] ^= 255
        for content in (whole[:place], bytes(changed)):
            (tmp_path / "net.pt2").write_bytes(content)
            try:
                read_archive(tmp_path / "net.pt2")
            except ValueError as error:
                assert "\n" not in str(error)  # noqa: PT017 (some changes do no harm)
