"""Signed maps look signed in still figures: colours on both sides of 0, none at 0, words for signs."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")

from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Text  # noqa: E402

from pyadx.report.colours import colour_scale, viewer_colormaps  # noqa: E402
from pyadx.report.comparison import save_comparison  # noqa: E402
from pyadx.report.hierarchies import _region_colours  # noqa: E402
from pyadx.report.panels import centre_of_mass, save_panels, section_voxel  # noqa: E402

FACTS = {
    "method": "sa3ducm",
    "parameters": {"signed": True, "score": "probability"},
    "target": {"index": 1, "name": "AD"},
    "prediction": {"NC": 0.25, "AD": 0.75},
}
AT = (10, 10, 10)
GREY = 0.5


def grey_scan():
    """A scan of even grey; its rim makes white the top of its scale."""
    scan = np.full((20, 20, 20), GREY, np.float32)
    scan[:, :, 0] = 1
    return scan


def two_voxels(left, right, size=1.0):
    """Zeros but for two voxels, which only the axial section meets."""
    heat = np.zeros((20, 20, 20), np.float32)
    heat[4, 6, 10], heat[15, 13, 10] = left * size, right * size
    return heat


def draw(path, kind, heat, facts=None):
    rows = {"map": heat}
    about = None if facts is None else {"map": facts}
    if kind == "panels":
        save_panels(path, grey_scan(), rows, "title", at=AT, facts=about)
    else:
        save_comparison(path, grey_scan(), rows, {}, "title", at=AT, facts=about)
    return np.asarray(image.open(path).convert("RGB"), np.int16)


@pytest.mark.parametrize("kind", ["panels", "comparison"])
@pytest.mark.parametrize("size", [1.0, 1e-7, 1e6])
def test_minus_one_and_plus_one_have_different_colours_in_a_figure(kind, size, tmp_path):
    one = draw(tmp_path / "a.png", kind, two_voxels(-1, 1, size))
    other = draw(tmp_path / "b.png", kind, two_voxels(1, -1, size))
    differs = np.abs(one - other).max(-1) > 40
    columns = np.flatnonzero(differs.any(0))  # both voxels are seen, and only they swap their colours
    middle = (columns.min() + columns.max()) // 2
    left = one[:, :middle][differs[:, :middle]].mean(0)
    right = one[:, middle:][differs[:, middle:]].mean(0)
    red, _, blue = left
    assert blue > red + 60, f"-1 is drawn as {left}"
    red, _, blue = right
    assert red > blue + 60, f"+1 is drawn as {right}"
    assert min(left.max(), right.max()) > 120  # neither is a black hole


@pytest.mark.parametrize("kind", ["panels", "comparison"])
def test_zero_is_transparent_in_a_signed_figure(kind, tmp_path):
    pixels = draw(tmp_path / "a.png", kind, two_voxels(-1, 1))
    plain = np.abs(pixels - round(255 * GREY)).max(-1) <= 1
    # Scan and map lie one below the other (panels) or side by side: the same grey, but for two voxels.
    axis = 0 if kind == "panels" else 1
    profile = np.flatnonzero(plain.sum(1 - axis) > 20)
    gap = profile[np.argmax(np.diff(profile))] + 1 if kind == "comparison" else pixels.shape[0] // 2
    scan, heat = np.split(plain, [gap], axis)
    assert scan.sum() > 10_000
    assert heat.sum() == pytest.approx(scan.sum(), rel=0.01)  # two of 1,200 voxels are coloured


def test_one_scale_for_both_signs_and_the_words_of_its_ends():
    scale = colour_scale(np.array([-4.0, 0, 0, 2]), FACTS)
    assert (scale.signed, scale.bottom, scale.top) == (True, -scale.top, pytest.approx(4, rel=0.01))
    assert (scale.low, scale.high) == ("speaks for NC", "speaks for AD")
    assert scale.opacity(np.array([0.0, -scale.top, 9])).tolist() == [0, 1, 1]
    colours = scale.colormap()
    assert np.allclose(colours(0.5)[:3], colours(0.501)[:3], atol=0.03)  # they meet at 0
    plain = colour_scale(np.array([0.0, 1, 3]))
    assert (plain.signed, plain.bottom, plain.low, plain.words) == (False, 0, "", "")
    assert colour_scale(np.zeros(5)).top == 1
    # A map that kept its signs and met no negative one is on the same scale as its fellows.
    assert colour_scale(np.array([0.0, 1, 3]), FACTS).signed
    assert colour_scale(np.array([0.0, 1, 3]), {"parameters": {"rectify": "none"}}).signed
    assert not colour_scale(np.array([0.0, 1, 3]), {"parameters": {"rectify": "relu"}}).signed


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        ({}, "speaks for NC", "speaks for AD"),
        ({"prediction": {"NC": 0.2, "AD": 0.3, "MCI": 0.5}}, "speaks against AD", "speaks for AD"),
        ({"parameters": {"score": "logit"}}, "speaks against AD", "speaks for AD"),
        ({"method": "cam"}, "speaks against AD", "speaks for AD"),
        ({"prediction": None}, "speaks against AD", "speaks for AD"),
        ({"prediction": None, "classes": ["NC", "AD"]}, "speaks for NC", "speaks for AD"),
        ({"target": None}, "negative", "positive"),
        ({"target": "AD", "parameters": [1], "prediction": 7}, "negative", "positive"),
    ],
)
def test_the_sidecar_says_which_class_a_sign_speaks_for(change, low, high):
    scale = colour_scale(np.array([-1.0, 1]), {**FACTS, **change})
    assert (scale.low, scale.high) == (low, high)


@pytest.fixture
def drawn_texts(monkeypatch):
    """Every word on the figures that are saved."""
    texts = []
    save = Figure.savefig

    def note(self, *arguments, **options):
        texts.extend(text.get_text() for text in self.findobj(Text))
        return save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", note)
    return texts


@pytest.mark.parametrize("kind", ["panels", "comparison"])
def test_colour_bars_say_what_a_sign_speaks_for(kind, tmp_path, drawn_texts):
    draw(tmp_path / "a.png", kind, two_voxels(-1, 1), FACTS)
    assert any("speaks for NC" in text and "speaks for AD" in text for text in drawn_texts)


@pytest.mark.parametrize("kind", ["panels", "comparison"])
def test_a_figure_says_that_a_map_is_approximate(kind, tmp_path, drawn_texts):
    facts = {**FACTS, "occlusion": {"regions_that_change": 729, "regions_scored": 215, "approximate": True}}
    draw(tmp_path / "a.png", kind, two_voxels(1, 1), facts)
    words = [" ".join(text.split()) for text in drawn_texts]
    assert any("approximate: 215 of 729 regions scored" in text for text in words)
    drawn_texts.clear()
    facts["occlusion"]["approximate"] = False
    draw(tmp_path / "a.png", kind, two_voxels(1, 1), facts)
    assert not any("approximate" in text for text in drawn_texts)


@pytest.mark.parametrize("kind", ["panels", "comparison"])
def test_dollar_signs_in_names_are_text(kind, tmp_path, drawn_texts):
    title = r"a$\frac$b"
    if kind == "panels":
        save_panels(tmp_path / "a.png", grey_scan(), {title: two_voxels(1, 1)}, title)
    else:
        save_comparison(tmp_path / "a.png", grey_scan(), {title: two_voxels(1, 1)}, {}, title)
    assert drawn_texts.count(title) == 2


def test_the_page_gets_the_colours_of_the_figures():
    sides = viewer_colormaps()["diverging"]
    scale = colour_scale(np.array([-1.0, 1]))
    colours = scale.colormap()
    own = sides[colours.name]
    for side, sign in (("negative", -1), ("positive", 1)):
        for place, *rgb in zip(*(own[side][name] for name in "IRGB"), strict=True):
            expected = np.array(colours(0.5 + sign * place / 510)[:3]) * 255
            assert place <= 1 or np.abs(expected - rgb).max() < 4
        assert own[side]["A"][0] == 0
        assert set(own[side]["A"][1:]) == {255}


def test_sections_are_cut_where_the_first_map_is_strongest():
    heat = np.zeros((20, 20, 20), np.float32)
    heat[3, 15, 6], heat[9, 9, 9] = -2.0, 1.0
    assert section_voxel(grey_scan(), {"map": heat}) == [3, 15, 6]
    assert section_voxel(grey_scan(), {"map": np.zeros_like(heat)}) == centre_of_mass(grey_scan())
    heat[4:15, 2:9, 1:6] = 5.0  # a region of one value: its middle, not its first corner
    assert section_voxel(grey_scan(), {"map": heat}) == [9, 5, 3]
    brain = grey_scan()
    brain[:, :10] = 0  # a map that is strongest in the background is cut where there is something to see
    assert section_voxel(brain, {"map": heat}) == [3, 15, 6]
    brain[:, 10:] = 0
    assert section_voxel(brain, {"map": heat}) == [9, 5, 3]


def test_a_single_odd_voxel_does_not_decide_where_sections_are_cut():
    heat = np.zeros((20, 20, 20), np.float32)
    heat[2, 2, 2] = 3.0
    heat[11:14, 11:14, 11:14] = 2.0
    assert section_voxel(grey_scan(), {"map": heat}) == [12, 12, 12]


def test_neighbouring_regions_differ_in_the_picture_of_a_hierarchy():
    labels = np.zeros((6, 6, 6), np.int32)
    labels[1:3, 1:5, 1:5], labels[3:5, 1:5, 1:5] = 1, 2
    colours = _region_colours(np.ones((6, 6, 6), np.float32), labels)
    assert colours.shape == (6, 6, 6, 3)
    assert np.abs(colours[2, 2, 2] - colours[3, 2, 2]).max() > 0.3
    assert not colours[0].any()
