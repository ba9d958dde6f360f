"""What makes occlusion of a network slow is told, with the line and what it costs."""

import warnings

import pytest
import torch
from torch import nn

from pyadx import Occlusion
from pyadx.cli import main
from pyadx.inference import IncrementalScorer

SHAPE = (24, 22, 20)


class Net(nn.Module):
    """Two convolutions with something between them."""

    def __init__(self, between):
        super().__init__()
        self.first, self.second = nn.Conv3d(1, 8, 3), nn.Conv3d(8, 16, 3)
        self.between = between
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(torch.relu(self.second(self.between(self.first(x)))).mean((2, 3, 4)))


class Excite(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x.mean((2, 3, 4), keepdim=True))


class Sorted(nn.Module):
    def forward(self, x):
        return x.sort(-1).values  # nobody writes this


BREAKS = {
    "group norm": (nn.GroupNorm(2, 8), "from group_norm on .*layer 'between', GroupNorm", "batch norm"),
    "excitation": (Excite(), "from mul on .*return x \\* torch.sigmoid", "squeeze and excitation"),
    "sorting": (Sorted(), "from sort on .*nobody writes this", "not known to look at a neighbourhood"),
}  # fmt: skip


def scorer(between):
    torch.manual_seed(0)
    model = Net(between).eval()
    return IncrementalScorer(model, torch.rand(1, *SHAPE), 0), model


@pytest.mark.parametrize("kind", BREAKS)
def test_the_operation_that_ends_boxes_is_named(kind):
    between, where, advice = BREAKS[kind]
    own, model = scorer(between)
    end = own.ending()
    assert end.share > 0.5
    assert end.without > end.gain
    assert advice in end.words
    with pytest.warns(RuntimeWarning, match=where):
        Occlusion(model, window=7, stride=7)(torch.rand(1, 1, *SHAPE))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        Occlusion(model, window=7, stride=7, engine="full")(torch.rand(1, 1, *SHAPE))


def test_a_network_of_neighbourhoods_needs_no_word():
    own, model = scorer(nn.BatchNorm3d(8))
    assert own.ending() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        Occlusion(model, window=7, stride=7)(torch.rand(1, 1, *SHAPE))


def test_layers_say_where_they_are_recomputed():
    rows = {row.layer: row for row in scorer(nn.GroupNorm(2, 8))[0].layers()}
    assert [rows[name].boxes for name in ("first", "between", "second")] == [1, 0, 0]
    assert rows["second"].shape == (16, 20, 18, 16)
    assert sum(row.share for row in rows.values()) == pytest.approx(1, abs=0.03)  # but for the filling
    gains = scorer(nn.BatchNorm3d(8))[0].typical_gains((3, 20))
    assert gains[3] > gains[20]


CODE = """
import torch
from torch import nn
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv3d(2, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 1)
    def forward(self, x):
        return {"age": self.head(self.norm(self.conv(x)).mean((2, 3, 4)))}
def branches():
    class Branch(Two):
        def forward(self, x):
            return super().forward(x) if x.max() < 2 else x
    return Branch()
"""


def test_info_shows_a_network_layer_by_layer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)
    card = (
        'in_shape = [16, 17, 18]\nclass_names = ["age"]\ntask = "regression"\noutput = "age"\nchannels = 2'
    )
    (tmp_path / "card.toml").write_text(card)
    assert main(["info", "--model", "net.py:Two", "--card", "card.toml"]) == 0
    out = capsys.readouterr().out
    assert "net.py:Two: Two, 2x16x17x18 of 2 mm" in out
    assert "regression: age, in output 'age'" in out
    assert "whole maps  group_norm" in out
    assert "boxes       conv3d" in out
    assert "predicted gain over full forwards" in out
    assert "from group_norm on (layer 'norm', GroupNorm" in out
    assert main(["info", "--model", "net.py:branches", "--card", "card.toml"]) == 0
    assert "one full forward per region: torch.export cannot trace the model" in capsys.readouterr().out
    (tmp_path / "card.toml").write_text(card.replace("channels = 2", "channels = 3"))
    assert main(["info", "--model", "net.py:Two", "--card", "card.toml"]) == 2
    assert "fails on a scan of 3x16x17x18 voxels" in capsys.readouterr().err
