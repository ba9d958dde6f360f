"""Figures of regions and of trees show what they were given, by artists and by pixels."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")

from matplotlib.collections import LineCollection  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from networks import Plain, randomised  # noqa: E402
from region_cases import shapley_facts  # noqa: E402
from segmentation.volumes import blobs  # noqa: E402

import pyadx  # noqa: E402
from pyadx.explainers.interactions import MergeInteractions, merge_interactions  # noqa: E402
from pyadx.report import save_dendrogram, save_pair_matrix, save_region_bars  # noqa: E402
from pyadx.segmentation import Hierarchy, from_labels, ucm  # noqa: E402


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **more: (saved.append(self), save(self, *args, **more))
    )
    return saved


def test_bars_are_the_values_with_whiskers_and_what_is_alone(tmp_path, figures):
    facts = shapley_facts((5, 2, 9), (0.25, -2.0, 1.0), names=["a", "b $x", "c"], errors=[0.1, 0.2, None])
    save_region_bars(tmp_path / "bars.png", facts["report"], "title $", facts=facts)
    axes = figures[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [-2.0, 1.0, 0.25]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b $x", "c", "a"]
    (whiskers,) = (c for c in axes.collections if isinstance(c, LineCollection))
    ends = [segment[:, 0].tolist() for segment in whiskers.get_segments() if len(segment)]
    assert ends[0] == pytest.approx([-2 - 0.392, -2 + 0.392])
    (alone,) = (line for line in axes.lines if line.get_label() == "filled alone")
    assert alone.get_xdata().tolist() == [-3.0, 1.5, 0.375]
    assert "speaks for NC" in axes.get_xlabel()
    assert axes.get_title().startswith("The shares add up to -0.75.")
    first, second, _ = (bar.get_facecolor() for bar in axes.patches)
    assert first[2] > first[0]  # negative is blue
    assert second[0] > second[2]
    assert image.open(tmp_path / "bars.png").size[0] > 1000


def test_the_strongest_bars_are_drawn_and_the_others_counted(tmp_path, figures):
    facts = shapley_facts(range(1, 30), np.linspace(0.1, 3, 29).tolist())
    save_region_bars(tmp_path / "bars.pdf", facts["report"], "t", most=4)
    axes = figures[0].axes[0]
    assert len(axes.patches) == 4
    assert "25 more regions are not shown." in axes.get_title()
    assert (tmp_path / "bars.pdf").read_bytes().startswith(b"%PDF")


def test_a_report_without_regions_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no regions"):
        save_region_bars(tmp_path / "bars.png", {"labels": []}, "t")
    assert not list(tmp_path.iterdir())


def test_pairs_are_a_matrix_with_numbers(tmp_path, figures):
    pairs = {"labels": [4, 5, 6], "names": ["a", "b $x", "c"]}
    pairs["matrix"] = [[None, -2.0, 0.5], [-2.0, None, 0.0], [0.5, 0.0, None]]
    save_pair_matrix(tmp_path / "pairs.png", {"pairwise": pairs}, "title $")
    axes = figures[0].axes[0]
    (drawn,) = axes.images
    assert drawn.get_clim() == (-2.0, 2.0)
    assert drawn.get_array().filled(0).tolist() == [[0, -2, 0.5], [-2, 0, 0], [0.5, 0, 0]]
    low, high = drawn.to_rgba([-2.0, 2.0])
    assert low[2] > low[0]  # negative is blue
    assert high[0] > high[2]
    assert sorted(text.get_text() for text in axes.texts) == ["-2", "-2", "0", "0", "0.5", "0.5"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b $x", "c"]
    assert image.open(tmp_path / "pairs.png").size[0] > 600
    with pytest.raises(ValueError, match="no interactions of pairs"):
        save_pair_matrix(tmp_path / "none.png", {"labels": [4]}, "t")


# --- trees -----------------------------------------------------------------------------------------------


def four_leaves():
    """Leaves 1 to 4; {1, 2} and {3, 4} are parts of the whole, on three levels."""
    leaves = np.repeat(np.arange(1, 5), 4).reshape(4, 2, 2)
    return from_labels([leaves, (leaves + 1) // 2, np.ones_like(leaves)])


def drawn_lines(figure):
    plain, known = (c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    return plain, known


def test_every_merge_is_a_bracket_in_the_colour_of_its_interaction(tmp_path, figures):
    tree = four_leaves()
    scores = {(1, 3): 2.0, (3, 5): 0.5, (1, 5): 3.0}
    changes = [scores.get(tuple(region), 0.5) for region in tree.regions.tolist()]
    found = merge_interactions(tree.regions, np.array(changes))
    assert dict(zip(map(tuple, found.regions.tolist()), found.values.tolist(), strict=True)) == {
        (1, 3): 1.0,
        (3, 5): -0.5,
        (1, 5): 0.5,
    }
    save_dendrogram(tmp_path / "tree.png", tree, found, "a tree")
    _, known = drawn_lines(figures[0])
    lines = [tuple(map(tuple, segment)) for segment in known.get_segments()]
    values = dict(zip(lines, known.get_array().tolist(), strict=True))
    assert values == {
        ((1, 0), (1, 1)): 1.0,
        ((2, 0), (2, 1)): 1.0,
        ((1, 1), (2, 1)): 1.0,
        ((3, 0), (3, 1)): -0.5,
        ((4, 0), (4, 1)): -0.5,
        ((3, 1), (4, 1)): -0.5,
        ((1.5, 1), (1.5, 2)): 0.5,
        ((3.5, 1), (3.5, 2)): 0.5,
        ((1.5, 2), (3.5, 2)): 0.5,
    }
    assert known.get_clim() == (-1.0, 1.0)
    assert known.get_linewidths()[-1] == pytest.approx(2.7)  # the strongest is the widest, and on top
    pixels = np.asarray(image.open(tmp_path / "tree.png").convert("RGB"), int)
    tree_only = pixels[:, : int(0.8 * pixels.shape[1])]
    red, blue = tree_only[..., 0] - tree_only[..., 2], tree_only[..., 2] - tree_only[..., 0]
    assert (red > 150).sum() > 500
    assert (blue > 40).sum() > 200


def test_merges_of_which_nothing_is_known_are_grey(tmp_path, figures):
    empty = MergeInteractions(np.zeros((0, 2), np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    save_dendrogram(tmp_path / "tree.png", four_leaves(), empty, "t")
    plain, known = drawn_lines(figures[0])
    assert (len(plain.get_segments()), len(known.get_segments())) == (9, 0)


@pytest.mark.parametrize("heights", ["level", "altitude"])
def test_trees_of_segmentations_stand_on_their_levels_or_altitudes(tmp_path, figures, heights):
    tree = ucm(blobs(), min_size=2, max_regions=40, max_levels=7)
    scan = torch.from_numpy(np.ascontiguousarray(blobs(), np.float32))[None]
    explain = pyadx.SupervoxelOcclusion(randomised(Plain(1, 3)).eval(), fill=0.3, score="logit")
    found = explain.run(scan, 1, tree).reports[0].interactions
    save_dendrogram(tmp_path / "tree.png", tree, found, "t", heights=heights)
    plain, known = drawn_lines(figures[0])
    across = [s for c in (plain, known) for s in c.get_segments() if s[0][0] != s[1][0]]
    tops = sorted({float(s[0][1]) for s in across})
    parents = [r for r in tree.regions.tolist() if any(inside(o, r) for o in tree.regions.tolist())]
    assert len(across) == len(parents)
    if heights == "level":
        first = [
            next(i for i in range(len(tree.levels)) if is_region(tree, i, region)) for region in parents
        ]
        assert tops == sorted(set(map(float, first)))
    else:
        assert set(tops) <= set(tree.altitude.tolist())


def inside(part, whole):
    return part != whole and whole[0] <= part[0] and part[1] <= whole[1]


def is_region(tree, level, region):
    labels, own = tree.labels(level), (tree.leaves >= region[0]) & (tree.leaves < region[1])
    return len(np.unique(labels[own])) == 1 and (labels == labels[own][0]).sum() == own.sum()


def test_an_infinite_altitude_stands_above_the_others(tmp_path, figures):
    tree = ucm(blobs(), min_size=2, max_regions=10)
    altitude = tree.altitude.copy()
    altitude[-3:] = np.inf  # the coarsest level has two regions: the root is none of them
    arrays = (tree.leaves, tree.parent, altitude, tree.area, tree.levels, tree.first, tree.last)
    tree = Hierarchy(*arrays)
    found = merge_interactions(tree.regions, np.ones(len(tree.regions)))
    save_dendrogram(tmp_path / "tree.png", tree, found, "t", heights="altitude")
    tops = [float(s[:, 1].max()) for c in drawn_lines(figures[0]) for s in c.get_segments()]
    nodes = {
        (int(a) + 1, int(b) + 1): n for n, (a, b) in enumerate(zip(tree.first, tree.last, strict=True))
    }
    finite = [altitude[nodes[tuple(region)]] for region in tree.regions.tolist()]
    assert max(tops) == pytest.approx(1.1 * max(a for a in finite if np.isfinite(a)))


def test_interactions_of_another_hierarchy_are_refused(tmp_path):
    other = MergeInteractions(np.array([[1, 4]]), np.array([2]), np.ones(1), np.zeros(1))
    with pytest.raises(ValueError, match="segments that the hierarchy does not have"):
        save_dendrogram(tmp_path / "t.png", four_leaves(), other, "t")
    with pytest.raises(ValueError, match="heights must be one of level, altitude"):
        save_dendrogram(tmp_path / "t.png", four_leaves(), other, "t", heights="width")
    assert not list(tmp_path.iterdir())
