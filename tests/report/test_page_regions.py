"""The page shows regions of a sidecar, escaped, with where they lie; an odd sidecar does not break it."""

import base64
import csv
import gzip
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

from region_cases import save_regions, shapley_facts  # noqa: E402
from report_support import AFFINE  # noqa: E402

from pyadx.report.region_sections import region_sections  # noqa: E402

EVIL = "<script><img src=x onerror=alert(1)>\t=cmd()"
PAIRS = {
    "labels": [3, 4, 17],
    "names": ["c", EVIL, "h"],
    "matrix": [[None, -0.5, 0.1], [-0.5, None, 0.0], [0.1, 0.0, None]],
}
MERGES = [
    {"leaves": [1, 6], "parts": 2, "together": 1.5, "alone": 0.7, "interaction": 0.8},
    {"leaves": [3, 5], "parts": 2, "together": 0.1, "alone": 0.3, "interaction": -0.2},
]


class Elements(HTMLParser):
    """Every element with its attributes, and the text of cells and buttons."""

    def __init__(self, page):
        super().__init__()
        self.found, self.texts, self.rows = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, text):
        self.texts.append(text)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += text

    def of(self, tag, kind=None):
        return [own for name, own in self.found if name == tag and kind in (None, own.get("class"))]


def page_of(folder, run, *options, **more):
    paths = save_regions(folder, **more)
    out = folder / "r.html"
    code, _, error = run("report", paths["scan"], paths["gradcam"], paths["shapley"], "-o", out, *options)
    assert code == 0, error
    page = out.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    return page, data["heatmaps"], paths


def test_the_page_carries_every_region_with_its_voxels_and_its_table(tmp_path, run):
    page, (other, heat), paths = page_of(tmp_path, run)
    assert other["report"] is None
    report = heat["report"]
    assert report["names"] == ["region 4", "region 3", "region 17"]  # by the absolute value
    numbers = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(report["nifti"])))
    labels = nib.load(paths["labels"]).get_fdata()
    for place, label in enumerate((4, 3, 17), start=1):
        assert np.array_equal(numbers.get_fdata() == place, labels == label)
        voxel = np.linalg.solve(AFFINE, [*report["at"][place - 1], 1])[:3].round().astype(int)
        assert labels[tuple(voxel)] == label
    rows = list(csv.reader(io.StringIO(report["table"]), delimiter="\t"))
    assert [row[:4] for row in rows[1:]] == [
        ["region 4", "4", "-1.3", "0.13"],
        ["region 3", "3", "0.9", "0.09"],
        ["region 17", "17", "0.4", "0.04"],
    ]
    assert report["table_file"] == "Shapley-values-of-regions_regions.tsv"
    assert "The shares add up to 0. The score changes by 0 from 2" in page.replace("2.22e-16", "0")


def test_bars_start_at_zero_and_are_as_long_as_their_values(tmp_path, run):
    found = Elements(page_of(tmp_path, run)[0])
    bars = [own for kind in ("minus", "plus") for own in found.of("rect", kind)]
    length = {own["class"]: [] for own in bars}
    for own in bars:
        length[own["class"]].append(float(own["width"]))
    assert [len(length["minus"]), len(length["plus"])] == [1, 2]
    unit = length["minus"][0] / 1.3
    assert length["plus"] == pytest.approx([0.9 * unit, 0.4 * unit], abs=0.02)
    zero = float(re.match(r"M([\d.]+) ", found.of("path", "axis")[0]["d"])[1])
    (left,) = found.of("rect", "minus")
    assert float(left["x"]) + float(left["width"]) == pytest.approx(zero, abs=0.02)
    assert all(float(own["x"]) == pytest.approx(zero, abs=0.02) for own in found.of("rect", "plus"))
    first, last = re.match(r"M([\d.]+) [\d.]+H([\d.]+)", found.of("path", "whisker")[0]["d"]).groups()
    assert float(last) - float(first) == pytest.approx(2 * 1.96 * 0.13 * unit, abs=0.03)
    alone = float(re.match(r"M([\d.-]+) ", found.of("path", "alone")[0]["d"])[1])
    assert alone == pytest.approx(zero - 1.5 * 1.3 * unit, abs=0.03)


def test_names_from_a_sidecar_are_text_and_never_markup(tmp_path, run):
    more = {"names": [EVIL] * 3, "pairwise": PAIRS}
    page, (_, heat), _ = page_of(tmp_path, run, **more)
    found = Elements(page)
    assert not any("onerror" in own for _, own in found.found)
    assert all(own["src"].startswith("data:") for own in found.of("img"))
    assert heat["report"]["names"] == [EVIL] * 3
    assert found.texts.count(EVIL) == 3 + 2  # buttons; head and row of the pairs
    assert all(line.count("\t") == 6 for line in heat["report"]["table"].splitlines())


def test_the_strongest_twenty_are_shown_and_the_others_folded_away():
    facts = shapley_facts(range(1, 24), [0.1 * n for n in range(1, 24)])
    text = region_sections(0, "map", facts)
    shown, folded = text.split("<details>")
    assert shown.count('class="region"') == 20
    assert "<summary>3 more regions</summary>" in folded
    assert folded.count('class="region"') == 3
    assert "region 4<" in shown
    assert "region 3<" in folded
    assert "<details>" not in region_sections(0, "map", shapley_facts(range(1, 21), [1.0] * 20))


def test_the_line_above_says_what_adds_up_and_what_is_left():
    facts = shapley_facts((1, 2), (0.5, 1.0), change=2.0, gap=0.5, score=3.0, reference_score=1.0)
    words = "The shares add up to 1.5. The score changes by 2 from 1 (all regions filled) to 3; gap 0.5."
    text = region_sections(0, "map", facts)
    assert words in text
    assert "A bar to the right speaks for AD, one to the left speaks for NC." in text
    assert "Whiskers: 1.96 standard errors" in text
    text = region_sections(0, "map", shapley_facts((1, 2), (0.5, 1.0), errors=[None, None]))
    assert "Standard errors are not known" in text
    assert "Whiskers" not in text
    assert 'class="whisker"' not in text


def test_decisive_regions_are_bars_in_their_order(tmp_path, run):
    report = {"kind": "remove", "labels": [17, 4], "names": ["h", "v"], "changes": [0.4, 1.3]}
    text = region_sections(0, "map", {"method": "flip", "report": report})
    assert "in the order in which they were selected" in text
    assert re.findall(r"disabled>(\w)</button>", text) == ["h", "v"]


def test_pairs_are_a_table_with_shades_and_numbers():
    facts = {"report": {"pairwise": PAIRS}}
    text = region_sections(0, "map", facts)
    rows = Elements(text).rows
    assert rows[1] == ["c", "", "-0.5", "0.1"]
    assert rows[2][0] == EVIL
    kinds = [own.get("class") for own in Elements(text).of("td")]
    assert kinds[:4] == [None, "number", "number minus-5", "number plus-1"]
    assert kinds[7] == "number"  # 0 has no shade


def test_merges_are_a_table_of_ten_at_most():
    text = region_sections(0, "map", {"report": {"interactions": MERGES * 8}})
    rows = Elements(text).rows
    assert rows[1] == ["1 to 5", "2", "1.5", "0.7", "0.8"]
    assert rows[2] == ["3 to 4", "2", "0.1", "0.3", "-0.2"]
    assert len(rows) == 11
    kinds = [own.get("class") for own in Elements(text).of("td")]
    assert kinds[4] == "number plus-5"
    assert kinds[9] == "number minus-1"


def test_every_shade_has_a_style_and_the_page_no_other_style(tmp_path, run):
    page, _, _ = page_of(tmp_path, run, pairwise=PAIRS)
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    used = {kind for own in Elements(page).of("td") for kind in own.get("class", "").split()}
    assert {"minus-5", "plus-1"} <= used
    for kind in used - {"number", "bar"}:
        assert f".{kind} {{ background: rgb(" in style
    assert not any("style" in own for _, own in Elements(page).found)


@pytest.mark.parametrize(
    "more",
    [
        {"labels": "3 4 17"},
        {"values": [None, "x", {}]},
        {"values": [1e308, -1e308, 5e-324]},
        {"values": [0.0, 0.0, 0.0], "alone": [0, 0, 0], "errors": [0, 0, 0]},
        {"names": ["\ud800", "", 5], "errors": {"a": 1}, "alone": [[1], 2, None]},
        {"labels": [10**30, 4, 17], "voxels": [-1, 0, "x"], "change": "all", "gap": []},
        {"pairwise": [1, 2], "interactions": {"leaves": 3}},
        {"pairwise": {"labels": [1, 2], "names": None, "matrix": [[None, 10**400], [True, None]]}},
    ],
)
def test_an_odd_sidecar_does_not_break_the_page(tmp_path, run, more):
    page, heatmaps, _ = page_of(tmp_path, run, **more)
    assert len(heatmaps) == 2
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", page))


def test_an_atlas_tells_regions_of_equal_values_apart(tmp_path, run):
    paths = save_regions(tmp_path)
    heat = nib.load(paths["shapley"])
    flat = np.where(heat.get_fdata() != 0, 0.5, 0).astype(np.float32)
    nib.save(nib.Nifti1Image(flat, heat.affine), paths["shapley"])
    (tmp_path / "shapley.json").write_text(json.dumps(shapley_facts((3, 4, 17), (0.5, 0.5, 0.5))))

    def places(*options):
        out = tmp_path / "r.html"
        arguments = ["report", paths["scan"], paths["shapley"], "-o", out, "--overwrite", *options]
        assert run(*arguments)[0] == 0
        data = json.loads(re.search(r'id="data">(.*?)</script>', out.read_text(), re.S)[1])
        return data["heatmaps"][0]["report"]["at"]

    assert places() == [None, None, None]
    assert None not in places("--regions", paths["labels"])


def test_folders_in_names_do_not_reach_the_page(tmp_path, run):
    page, (_, heat), _ = page_of(tmp_path, run, names=["/home/janeroe/a.nii", "b", "c"])
    assert "janeroe" not in page
    assert "a.nii" in heat["report"]["names"]
