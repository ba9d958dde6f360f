"""``--slices``, ``--threshold`` and ``--figure-mask`` of ``pyadx explain`` and ``pyadx report``."""

from pathlib import Path

import numpy as np
import pytest
from commands_support import AFFINE, brain
from report_support import keep_figures

nib = pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

EXPLAIN = [
    "explain",
    "scan.nii.gz",
    "--model",
    "resnet-gap.safetensors",
    "--method",
    "cam",
    "--target",
    "AD",
]
EXPLAIN += ["-o", "heat.nii.gz"]
REPORT = ["report", "scan.nii.gz"]


def save(name, values, affine=AFFINE):
    nib.save(nib.Nifti1Image(values, affine), name)


def half_mask():
    """The left half of the world: x < 0."""
    mask = np.zeros(brain().shape, np.uint8)
    mask[21:] = 1
    return mask


@pytest.fixture
def figures(here, monkeypatch):
    return keep_figures(monkeypatch)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def sections(figure):
    return [np.asarray(axes.images[1].get_array()) for axes in figure.axes[4:7]]


def test_explain_draws_what_it_is_told(figures, run):
    save("mask.nii.gz", half_mask())
    plain, told = [*EXPLAIN, "--figure", "a.png"], ["--slices", "-10,4,6", "--threshold", "60%"]
    assert run(*plain)[0] == 0
    code, _, err = run(*plain, *told, "--figure-mask", "mask.nii.gz", "--overwrite")
    assert code == 0, err
    before, after = (figure for figure, _ in figures)
    assert "mm" in titles(before)[0]
    assert [title.split(", ")[2] for title in titles(after)[:3]] == ["z = 6 mm", "x = -10 mm", "y = 4 mm"]
    axial, sagittal, coronal = sections(after)
    for section in (axial, coronal):  # the right half, whose columns come last, is hidden
        assert not section[:, 21:].any()
        assert section[:, :20].any()
    assert 0.1 < (sagittal != 0).mean() < 0.9
    assert any(title.startswith("|value| ") and title.endswith("(60%)") for title in titles(after))
    assert "the network's grid" in after.get_supxlabel()


def test_a_map_that_is_there_is_drawn_again_by_report(figures, run):
    assert run(*EXPLAIN)[0] == 0
    save("mask.nii.gz", half_mask())
    code, out, err = run(
        *REPORT, "heat.nii.gz", "-o", "heat.png", "--slices", "-10,4,6", "--threshold", "0.001",
        "--figure-mask", "mask.nii.gz",
    )  # fmt: skip
    assert code == 0, err
    assert "heat.png" in out
    ((figure, _),) = figures
    # The file runs from right to left: x = 40 - 2i, y = 2j - 40, z = 2k - 30.
    heat = nib.load("heat.nii.gz").get_fdata(dtype=np.float32) * half_mask()
    heat[np.abs(heat) < 0.001] = 0
    axial, sagittal, coronal = sections(figure)
    assert np.array_equal(axial, heat[::-1, :, 18].T)
    assert np.array_equal(sagittal, heat[25].T)
    assert np.array_equal(coronal, heat[::-1, 22].T)
    assert "the scan's grid" in figure.get_supxlabel()


def test_a_page_opens_at_the_slices(figures, run, monkeypatch):
    from pyadx.report import page

    monkeypatch.setattr(page, "image", lambda file, words: "")
    assert run(*EXPLAIN)[0] == 0
    line = [*REPORT, "heat.nii.gz", "-o", "page.html", "--slices", "-10,4,6"]
    code, _, err = run(*line)
    assert code == 0, err
    assert '"at": [-10.0, 4.0, 6.0]' in Path("page.html").read_text(encoding="utf-8")
    assert titles(figures[-1][0])[0].endswith("z = 6 mm")


def test_a_threshold_above_all_values_is_warned_about(figures, run):
    code, _, err = run(*EXPLAIN, "--figure", "a.png", "--threshold", "1e9")
    assert code == 0
    assert "pyadx: warning: cam, AD: the figure shows nothing of it" in " ".join(err.split())


def elsewhere(name):
    save(name, half_mask(), np.diag([2.0, 2, 2, 1]) + np.eye(4, k=3) * 900)


MASKS = {
    "far.nii.gz": elsewhere,
    "empty.nii.gz": lambda name: save(name, np.zeros(brain().shape, np.uint8)),
    "text.nii.gz": lambda name: Path(name).write_text("no mask"),
}
BAD = {
    "two numbers": (["--slices", "1,2"], "--slices must be X,Y,Z in mm, such as -26,-20,-18; got '1,2'"),
    "words": (["--slices", "a,b,c"], "--slices must be X,Y,Z"),
    "no number": (["--slices", "1,2,nan"], "--slices must be X,Y,Z"),
    "outside": (
        ["--slices", "300,0,0"],
        "slices at 300,0,0 mm lie outside scan.nii.gz, which reaches x from",
    ),
    "threshold": (["--threshold", "much"], "threshold must be a number of at least 0"),
    "percentile": (["--threshold", "120%"], "threshold must be a number of at least 0"),
    "no such mask": (["--figure-mask", "gone.nii.gz"], "gone.nii.gz: no such file"),
    "mask elsewhere": (
        ["--figure-mask", "far.nii.gz"],
        "only 0% of the regions lie in the scan's field of",
    ),
    "empty mask": (["--figure-mask", "empty.nii.gz"], "empty.nii.gz: every voxel is 0; nothing is inside"),
    "no mask": (["--figure-mask", "text.nii.gz"], "text.nii.gz: "),
}


@pytest.mark.parametrize("command", ["explain", "report"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_before_any_work(kind, command, here, run, monkeypatch):
    from pyadx.commands.explaining import explain

    monkeypatch.setattr(explain.Explainer, "run", lambda *a, **k: pytest.fail("worked"))
    options, words = BAD[kind]
    for name, make in MASKS.items():
        make(name)
    save("old.nii.gz", brain())
    lines = {
        "explain": [*EXPLAIN, "--figure", "a.png"],
        "report": [*REPORT, "old.nii.gz", "-o", "a.png"],
    }
    code, out, err = run(*lines[command], *options)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert not Path("a.png").exists()
    assert not Path("heat.nii.gz").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([*EXPLAIN, "--slices", "0,0,0"], "--slices needs a figure: name one with --figure"),
        ([*EXPLAIN, "--figure-mask", "m.nii.gz"], "--figure-mask needs a figure"),
        (["explain", "scan.nii.gz", "b.nii.gz", *EXPLAIN[2:-1], "maps", "--threshold", "5"], "one scan"),
        ([*REPORT, "old.nii.gz", "-o", "a.html", "--threshold", "5"], "is for a still figure"),
        ([*REPORT, "old.nii.gz", "-o", "a.png", "--regions", "a.nii.gz"], "is for a page"),
        ([*REPORT, "old.nii.gz", "-o", "a.svg"], "is written as .html, a figure as .png"),
    ],
)  # fmt: skip
def test_options_without_a_figure_are_refused(line, words, here, run):
    code, _, err = run(*line)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert not Path("maps").exists()


def test_slices_on_the_scan_and_beside_the_networks_grid_are_refused(here, run):
    affine = AFFINE.copy()
    affine[:3, 3] = [60, -60, -60]
    save("large.nii.gz", brain((60, 60, 60)), affine)
    line = [*EXPLAIN, "--figure", "a.png", "--slices", "58,0,0"]
    line[1] = "large.nii.gz"
    code, _, err = run(*line)
    assert code == 2
    assert "lie outside the network's grid, which reaches x from" in err
