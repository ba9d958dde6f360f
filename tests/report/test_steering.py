"""Figures are cut where the caller says, and show what the caller says."""

import warnings

import numpy as np
import pytest
from report_support import keep_figures

pytest.importorskip("matplotlib")
nib = pytest.importorskip("nibabel")

from types import SimpleNamespace  # noqa: E402

from pyadx.data.scans import Scan  # noqa: E402
from pyadx.report import save_panels  # noqa: E402
from pyadx.report.page_parts import PageHeatmap  # noqa: E402
from pyadx.report.scan_panels import save_scan_panels  # noqa: E402
from pyadx.report.steering import read_threshold, shown_part, voxel_at, world_position  # noqa: E402

AFFINE = np.array([[2.0, 0, 0, -20], [0, 2, 0, -24], [0, 0, 2, -16], [0, 0, 0, 1]])
SHAPE = (20, 24, 16)


def grey_scan():
    scan = np.full(SHAPE, 0.5, np.float32)
    scan[0] = 1
    return scan


def graded():
    """Values 1 to the number of voxels, each its own."""
    return np.arange(1, np.prod(SHAPE) + 1, dtype=np.float32).reshape(SHAPE)


@pytest.fixture
def figures(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return keep_figures(monkeypatch)


def texts(figure):
    return [axes.get_title() for axes in figure.axes] + [figure.get_supxlabel()]


def overlays(figure):
    """The sections of the map in the second row: axial, sagittal, coronal."""
    return [np.asarray(axes.images[1].get_array()) for axes in figure.axes[4:7]]


def test_sections_are_cut_at_millimetres_and_say_so(figures):
    save_panels(
        "a.png",
        grey_scan(),
        {"map": graded()},
        "title",
        grid="a grid",
        affine=AFFINE,
        slices=(-8.0, 5.1, 6),
    )
    ((figure, _),) = figures
    voxel = (6, 15, 11)
    for section, axis in zip(overlays(figure), (2, 0, 1), strict=True):
        assert np.array_equal(section, np.take(graded(), voxel[axis], axis=axis).T)
    assert texts(figure)[:3] == [
        "axial, voxel 11, z = 6 mm", "sagittal, voxel 6, x = -8 mm", "coronal, voxel 15, y = 6 mm",
    ]  # fmt: skip
    words = texts(figure)[-1]
    assert "Voxel indices start at 0 and refer to a grid." in words
    assert (
        "Positions in mm are the file's world coordinates: x to the right, y to the front, z up." in words
    )


def test_without_a_world_there_are_no_millimetres(figures):
    save_panels("a.png", grey_scan(), {"map": graded()}, "title", at=(1, 2, 3), grid="a grid")
    assert texts(figures[0][0])[0] == "axial, voxel 3"
    assert texts(figures[0][0])[-1] == "Voxel indices start at 0 and refer to a grid."


@pytest.mark.parametrize("axes", ["RAS", "LPI", "SAL"])
def test_the_order_of_a_files_axes_changes_no_section(axes, figures):
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    scan, heat, mask = (apply_orientation(v, turn) for v in (grey_scan(), graded(), graded() > 3000))
    image = SimpleNamespace(affine=AFFINE @ inv_ornt_aff(turn, SHAPE))
    save_scan_panels(
        "a.png", Scan("scan", image, scan), [PageHeatmap("map", heat)], "t", slices=(-8, 6, 6), mask=mask
    )
    expected = np.where(graded() > 3000, graded(), 0)
    for section, axis, place in zip(overlays(figures[0][0]), (2, 0, 1), (11, 6, 15), strict=True):
        assert np.array_equal(section, np.take(expected, place, axis=axis).T)
    assert "Maps are shown inside a mask only." in texts(figures[0][0])[-1]


def test_a_threshold_hides_what_is_weaker_on_both_sides_and_moves_no_colours(figures):
    values = graded() - 3000
    for threshold in (None, 2000, "2000"):
        save_panels("a.png", grey_scan(), {"map": values}, "t", at=(5, 5, 5), threshold=threshold)
    (plain, _), (figure, _), (same, _) = figures
    for before, section, again in zip(*map(overlays, (plain, figure, same)), strict=True):
        assert np.array_equal(section, np.where(np.abs(before) >= 2000, before, 0))
        assert np.array_equal(section, again)
    colours = [one.axes[4].images[1].get_clim() for one in (plain, figure)]
    assert colours[0] == colours[1]
    assert "|value| \N{GREATER-THAN OR EQUAL TO} 2e+03" in texts(figure)
    assert not any("value" in text for text in texts(plain))


def test_a_percentile_counts_values_that_are_not_0_inside_the_mask():
    values = np.zeros(SHAPE, np.float32)
    values[4, 4, :10] = [-1, 2, -3, 4, -5, 6, -7, 8, -9, 10]
    part, words = shown_part(values, "50%")
    assert sorted(np.abs(part[part != 0])) == [6, 7, 8, 9, 10]
    assert words == "|value| \N{GREATER-THAN OR EQUAL TO} 5.5 (50%)"
    assert part.dtype == values.dtype
    mask = np.zeros(SHAPE, bool)
    mask[4, 4, :4] = True
    part, words = shown_part(values, "100%", mask)
    assert part[part != 0].tolist() == [4.0]
    assert words.endswith(" 4 (100%)")
    # Of many equal values, such as those of a region, a percentile shows all and not none.
    part, _ = shown_part(np.where(values != 0, 3.0, 0.0), "99%")
    assert (part != 0).sum() == 10


def test_the_cut_follows_what_is_shown(figures):
    heat = np.zeros(SHAPE, np.float32)
    heat[4:7, 4:7, 4:7] = 5.0
    heat[12:15, 12:15, 9:12] = 3.0
    mask = np.zeros(SHAPE, bool)
    mask[10:] = True
    save_panels("a.png", grey_scan(), {"map": heat}, "t")
    save_panels("a.png", grey_scan(), {"map": heat}, "t", mask=mask)
    assert [texts(one)[0] for one, _ in figures] == ["axial, voxel 5", "axial, voxel 10"]


def test_a_figure_that_shows_nothing_says_so(figures):
    with pytest.warns(
        UserWarning, match="map: the figure shows nothing of it, because .* reaches the threshold"
    ):
        save_panels("a.png", grey_scan(), {"map": graded()}, "t", threshold=1e9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_panels("a.png", grey_scan(), {"map": np.zeros(SHAPE)}, "t", threshold="99%")


def test_a_figure_may_be_a_pdf(figures):
    save_panels("a.pdf", grey_scan(), {"map": graded()}, "t")
    assert figures[0][1] == "pdf"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"slices": (300, 0, 0)}, "give the affine"),
        (
            {"slices": (300, 0, 0), "affine": AFFINE},
            "slices at 300,0,0 mm lie outside the scan, which reaches x",
        ),
        ({"slices": (0, 0, 0), "at": (1, 1, 1), "affine": AFFINE}, "not both"),
        ({"threshold": "many"}, "threshold must be a number of at least 0, or a percentile"),
        ({"threshold": "-5"}, "got '-5'"),
        ({"threshold": -5.0}, "got -5.0"),
        ({"threshold": "101%"}, "0% to 100%"),
        ({"threshold": "inf"}, "got 'inf'"),
        ({"threshold": float("nan")}, "got nan"),
        ({"mask": np.zeros(SHAPE, bool)}, "the mask holds no voxel"),
        (
            {"mask": np.ones((2, 3, 4), bool)},
            r"the mask has shape \(2, 3, 4\), but map has shape \(20, 24, 16\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(given, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        save_panels(tmp_path / "a.png", grey_scan(), {"map": graded()}, "t", **given)
    assert not list(tmp_path.iterdir())


def test_a_figure_has_a_kind_that_is_known(tmp_path):
    with pytest.raises(ValueError, match=r"a figure is written as \.png or \.pdf"):
        save_panels(tmp_path / "a.jpg", grey_scan(), {}, "t")


def test_positions_and_voxels_are_each_others_inverse_also_where_axes_are_oblique():
    turned = AFFINE @ nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, 0.1, -0.3))
    for voxel in ([0, 0, 0], [19, 23, 15], [7, 11, 3]):
        assert voxel_at(world_position(voxel, turned), turned, SHAPE, "it") == voxel
    with pytest.raises(ValueError, match="outside it, which reaches x from"):
        voxel_at(world_position([0, 24, 0], turned), turned, SHAPE, "it")


@pytest.mark.parametrize(
    ("said", "number"),
    [("99%", (99, True)), (" 0.5 ", (0.5, False)), (3, (3, False)), ("1e-3", (1e-3, False))],
)
def test_spellings_of_thresholds(said, number):
    assert read_threshold(said) == number
