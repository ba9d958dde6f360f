"""The page of two groups: what it says, what it leaves out, and which folders it refuses."""

import base64
import gzip
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("nilearn")
pytest.importorskip("matplotlib")

from group_maps import AFFINE, SHAPE, group_maps, map_name, save_map, sidecar

EVIL = "<script>alert(1)</script>"
SECRET = b"Name: Jane Roe"


def analyse(folder, run, *more, contrast="AD - NC", **made):
    """Run `pyadx group` on maps in a folder; return its results."""
    folder.mkdir(exist_ok=True)
    group_maps(folder, **{"effect": 3, **made})
    fixed = ["--participants", folder / "participants.tsv", "--contrast", contrast, "--null", "2"]
    if "--permutations" not in more:
        fixed += ["--permutations", "99"]
    code, _, err = run("group", folder / "maps", *fixed, "-o", folder / "out", "-q", *more)
    assert code == 0, err
    return folder / "out"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """A folder with maps, atlas and results, analysed once."""
    folder = tmp_path_factory.mktemp("analysed") / "janeroe"
    folder.mkdir()

    def run(*arguments):
        from pyadx.cli import main

        return main([str(a) for a in arguments]), "", ""

    analyse(folder, run, "--regions", save_atlas(folder))
    return folder


@pytest.fixture
def results(analysed, tmp_path):
    """Results with regions, in a folder that must not show."""
    return Path(shutil.copytree(analysed, tmp_path / "janeroe")) / "out"


def save_atlas(folder, name="Hippocampus_L"):
    group_maps(folder)
    (folder / "atlas.tsv").write_text(f"index\tname\n1\t{name}\n2\tHippocampus_R\n3\tVermis\n")
    kept = folder / "kept"  # `group_maps` writes its own key beside the maps
    kept.mkdir()
    for file in ("atlas.nii.gz", "atlas.tsv"):
        shutil.copy(folder / file, kept)
    return kept / "atlas.nii.gz"


def page_of(results, run, *more):
    out = results.parent / "g.html"
    code, _, err = run("report", "--group", results, "-o", out, "--overwrite", *more)
    assert code == 0, err
    return out.read_text(encoding="utf-8")


def viewer_data(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def volume(entry):
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(entry["nifti"]))).get_fdata()


def names(page):
    return [heat["name"] for heat in viewer_data(page)["heatmaps"] if not heat["listed"]]


def test_the_page_has_the_maps_of_the_folder(results, run):
    page = page_of(results, run)
    data = viewer_data(page)
    assert names(page) == [
        "Difference of means, AD - NC", "Mean of AD (n = 12)", "Mean of NC (n = 12)", "Hedges' g, AD - NC",
        "t where family-wise p < 0.05",
    ]  # fmt: skip
    files = ["ADminusNC_stat-difference", "AD_stat-mean", "NC_stat-mean", "ADminusNC_stat-hedgesg"]
    for heat, file in zip(data["heatmaps"], files, strict=False):
        values = nib.load(results / f"group_space-MNI_desc-{file}_statmap.nii.gz").get_fdata()
        np.testing.assert_allclose(volume(heat), values, atol=np.abs(values).max() / 250)
    t, p = (
        nib.load(results / f"group_space-MNI_desc-ADminusNC_stat-{stat}_statmap.nii.gz").get_fdata()
        for stat in ("t", "logpfwe")
    )
    shown = volume(data["heatmaps"][4])
    assert ((shown != 0) == (p > -np.log10(0.05) + 1e-6)).all()
    assert (shown != 0).sum() == sum(
        json.loads((results / "group.json").read_text())["voxels"]["significant"].values()
    )
    np.testing.assert_allclose(shown[shown != 0], t[shown != 0], rtol=0.02)
    assert "the MNI152 brain" in page
    assert data["scan"]["words"] == "background"


def test_findings_come_first_and_the_methods_text_last(results, run):
    page = page_of(results, run)
    lead = page[page.index('<ul class="lead">') : page.index('<main id="viewer"')]
    assert "Who: maps of 12 AD and 12 NC." in lead
    assert "every map divided by the sum of its absolute values" in lead
    assert re.search(r"Voxels: \d+ with AD &gt; NC \(family-wise p &lt; 0.05, 99 permutations\)", lead)
    assert "Hippocampus_L (more in AD)" in lead
    assert "of 2 found a voxel" in lead
    assert re.search(r"analyses with shuffled labels: \d+ of 1,000 found a region", lead)
    assert "The contrast AD - NC was tested at every voxel" in page
    assert "Benjamini Y, Hochberg Y (1995)" in page
    assert "Yang C, Rangarajan A, Ranka S (2018)" in page


def test_regions_are_sorted_by_q_and_lead_to_their_places(results, run):
    atlas = results.parent / "kept/atlas.nii.gz"
    report = viewer_data(page_of(results, run, "--regions", atlas))["heatmaps"][0]["report"]
    page = page_of(results, run)
    assert "Precision-recall curves" in page
    assert viewer_data(page)["heatmaps"][0]["report"] == report
    rows = [line.split("\t") for line in report["table"].splitlines()]
    assert rows[0] == ["name", "difference", "ci_low", "ci_high", "p", "p_fdr", "hedges_g"]
    q = [float(row[5]) for row in rows[1:]]
    assert q == sorted(q)
    assert report["names"] == [row[0] for row in rows[1:]]
    assert report["names"][0] == "Hippocampus_L"
    numbers = {"Hippocampus_L": 1, "Hippocampus_R": 2, "Vermis": 3}
    labels = np.asarray(nib.load(atlas).dataobj)
    for place, (name, at) in enumerate(zip(report["names"], report["at"], strict=True), start=1):
        voxel = np.rint(np.linalg.inv(AFFINE) @ [*at, 1])[:3].astype(int)
        assert labels[tuple(voxel)] == numbers[name]
        assert ((volume(report) == place) == (labels == numbers[name])).all()


def test_without_the_atlas_regions_have_no_places(results, run):
    for file in results.glob("*_dseg.*"):
        file.unlink()
    note = results / "group.json"
    facts = json.loads(note.read_text())
    facts["files"] = [one for one in facts["files"] if one["kind"] != "labels"]
    note.write_text(json.dumps(facts))
    page = page_of(results, run)
    assert viewer_data(page)["heatmaps"][0]["report"]["at"] == [None] * 3
    assert "cannot show where the regions are" in page


def test_subjects_are_the_most_and_the_least_like_their_group(results, run):
    page = page_of(results, run, "--subjects", "4")
    listed = [heat for heat in viewer_data(page)["heatmaps"] if heat["listed"]]
    assert "the list holds 4 maps," in page
    assert "20 are not in this page" in page
    mask = nib.load(results / "group_space-MNI_desc-tested_mask.nii.gz").get_fdata() > 0
    slow = {}
    for number in range(24):
        heat = nib.load(results.parent / "maps" / map_name(number)).get_fdata()
        group = "AD" if number % 2 else "NC"
        mean = nib.load(results / f"group_space-MNI_desc-{group}_stat-mean_statmap.nii.gz").get_fdata()
        slow.setdefault(group, []).append((np.corrcoef(heat[mask], mean[mask])[0, 1], number, heat))
    expected = [
        (group, *own) for group in ("AD", "NC") for own in (max(slow[group])[:3], min(slow[group])[:3])
    ]
    for heat, (group, r, number, values) in zip(listed, expected, strict=True):
        assert heat["name"] == f"sub-{number:02d} ({group}, r = {r:.2f})"
        values = np.where(mask, values, 0) / np.abs(values[mask]).sum()
        np.testing.assert_allclose(volume(heat), values, atol=np.abs(values).max() / 250)


def test_maps_that_are_gone_are_told_and_left_out(results, run):
    for path in (results.parent / "maps").glob("*.nii.gz"):
        if path.name != map_name(3):
            path.unlink()
    out = results.parent / "g.html"
    code, _, err = run("report", "--group", results, "-o", out)
    assert code == 0
    assert "23 of 24 subjects' maps are not at their paths in second_level.tsv" in err
    assert "the list holds 1 map," in out.read_text()
    assert "This page shows none of the 24 subjects" in page_of(results, run, "--subjects", "0")


def test_where_nothing_is_found_the_page_says_so(tmp_path, run):
    page = page_of(analyse(tmp_path, run, effect=0, seed=3), run)
    assert "Voxels: none is significant" in page
    assert "There is no map of t above the threshold" in page
    assert len(names(page)) == 4
    assert "<h2>Regions</h2>" not in page


def test_without_permutations_no_voxel_is_called_found(tmp_path, run):
    page = page_of(analyse(tmp_path, run, "--permutations", "0"), run)
    assert "no permutations were run" in page
    assert len(names(page)) == 4


def test_a_background_is_taken_and_outside_mni_the_maps_stand_in(tmp_path, run):
    (tmp_path / "bare").mkdir()
    values, _ = group_maps(tmp_path)
    for number in range(24):
        save_map(tmp_path / "bare" / map_name(number, space="space-Pop_"), values[number], sidecar())
    fixed = [
        "--participants",
        tmp_path / "participants.tsv",
        "--contrast",
        "AD - NC",
        "--permutations",
        "9",
    ]
    assert run("group", tmp_path / "bare", *fixed, "-o", tmp_path / "out", "-q")[0] == 0
    assert "mean absolute value of both groups" in page_of(tmp_path / "out", run)
    nib.save(
        nib.Nifti1Image(np.full(SHAPE, 7, np.float32) * (values[0] != 0), AFFINE), tmp_path / "mine.nii.gz"
    )
    page = page_of(tmp_path / "out", run, "--background", tmp_path / "mine.nii.gz")
    assert "Background: mine.nii.gz." in page
    assert volume(viewer_data(page)["scan"]).max() == pytest.approx(7)


def test_names_are_text_and_no_folder_or_header_shows(tmp_path, run):
    folder = tmp_path / "janeroe"
    folder.mkdir()
    atlas = save_atlas(folder, name=EVIL)
    results = analyse(folder, run, "--regions", atlas)
    scan = nib.Nifti1Image(np.ones(SHAPE, np.float32) * np.arange(10), AFFINE)
    scan.header["descrip"] = SECRET
    scan.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SECRET))
    nib.save(scan, folder / "mine.nii.gz")
    page = page_of(
        results, run, "--regions", atlas, "--background", folder / "mine.nii.gz", "--title", EVIL
    )
    assert EVIL not in page
    assert EVIL in viewer_data(page)["heatmaps"][0]["report"]["names"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</button>" in page
    payloads = [base64.b64decode(text) for text in re.findall(r'"nifti": "([^"]+)"', page)]
    assert len(payloads) == 1 + 5 + 12 + 2
    for text in (page.encode(), *map(gzip.decompress, payloads)):
        assert not re.search(rb"janeroe|Jane Roe", text)
    assert str(tmp_path) not in page


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_a_figure_shows_sections_and_bars_of_the_same_findings(results, run, monkeypatch, ending):
    from pyadx.report import group_figures

    drawn, keep = [], group_figures._bars
    monkeypatch.setattr(
        group_figures, "_bars", lambda row, axes, alpha: (keep(row, axes, alpha), drawn.append((row, axes)))
    )
    out = results.parent / f"groups.{ending}"
    code, _, err = run("report", "--group", results, "-o", out, "--title", "Mine")
    assert code == 0, err
    assert out.read_bytes()[:4] == {"png": b"\x89PNG", "pdf": b"%PDF"}[ending]
    ((row, axes),) = drawn
    assert row.regions[0].name == "Hippocampus_L"
    assert "Hippocampus_L (more in AD)" in row.words
    assert "12 AD, 12 NC." in row.words
    bars = [(bar.get_width(), bar.get_facecolor()[3]) for bar in axes.patches]
    assert [width for width, _ in bars] == [one.g for one in row.regions]
    assert [alpha > 0 for _, alpha in bars] == [one.q < 0.05 for one in row.regions]
    labels = np.asarray(nib.load(results.parent / "kept/atlas.nii.gz").dataobj)
    turned = nib.apply_orientation(labels, nib.io_orientation(AFFINE))  # the planted difference is in 1
    assert turned[tuple(row.at)] == 1
    code, _, err = run("report", "--group", results, "-o", out)
    assert code == 2
    assert "--overwrite" in err


def test_a_figure_of_groups_is_cut_and_shows_what_it_is_told(results, run, monkeypatch):
    from pyadx.report import group_figures

    drawn, keep = [], group_figures._sections
    monkeypatch.setattr(
        group_figures,
        "_sections",
        lambda figure, row, axes: (keep(figure, row, axes), drawn.append((row, axes))),
    )
    mask = np.zeros(SHAPE, np.uint8)
    mask[: SHAPE[0] // 2] = 1
    nib.save(nib.Nifti1Image(mask, AFFINE), results.parent / "half.nii.gz")
    voxel = np.array([2, 4, 3])
    x, y, z = nib.affines.apply_affine(AFFINE, voxel)
    code, _, err = run(
        "report", "--group", results, "-o", results.parent / "g.png", "--slices", f"{x},{y},{z}",
        "--threshold", "50%", "--figure-mask", results.parent / "half.nii.gz",
    )  # fmt: skip
    assert code == 0, err
    ((row, axes),) = drawn
    back = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.io_orientation(AFFINE))
    shown, difference = (nib.apply_orientation(one, back) for one in (row.part, row.difference))
    whole = np.where(mask, np.abs(difference), 0)
    assert np.array_equal(shown != 0, whole >= np.median(whole[whole > 0]))
    assert np.allclose(nib.affines.apply_affine(row.affine, row.at), [x, y, z])
    assert axes[0].get_title().endswith(f"z = {z:g} mm")
    assert "(50%)." in row.words
    assert row.masked


def edited(results, change):
    note = results / "group.json"
    facts = json.loads(note.read_text())
    change(facts)
    note.write_text(json.dumps(facts))


def other_grid(results):
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.float32), AFFINE), results.parent / "other.nii.gz")


def other_atlas(results):
    values = np.zeros(SHAPE, np.int16)
    values[3:6, 3:6, 3:6] = 9
    nib.save(nib.Nifti1Image(values, AFFINE), results.parent / "other.nii.gz")


BAD = {
    "no folder": (lambda r: (r / "group.json").unlink(), [], "has no group.json; give the folder that"),
    "no JSON": (lambda r: (r / "group.json").write_text("{"), [], "cannot be read as JSON"),
    "other command": (
        lambda r: edited(r, lambda f: f.update(command="x")),
        [],
        "was not written by pyadx group",
    ),
    "other schema": (lambda r: edited(r, lambda f: f.update(schema=99)), [], "has schema 99"),
    "broken": (
        lambda r: edited(r, lambda f: f.pop("sample")),
        [],
        "does not have the form that pyadx group writes",
    ),
    "no map": (lambda r: edited(r, lambda f: f["files"].clear()), [], "lists no mean map of AD"),
    "grid": (
        other_grid,
        ["--background", "other.nii.gz"],
        "is not on the voxels of the group's maps",
    ),
    "atlas": (other_atlas, ["--regions", "other.nii.gz"], "holds none of the regions of the table"),
    "scan, too": (lambda r: None, ["other.nii.gz"], "give a SCAN and its heatmaps, or --group FOLDER, not"),
    "ending": (lambda r: None, ["-o", "g.jpg"], "a page is written as .html, a figure as .png or .pdf"),
    "key": (lambda r: None, ["--key", "atlas.tsv"], "give the atlas with --regions"),
    "atlas of a figure": (
        other_atlas,
        ["--regions", "other.nii.gz", "-o", "g.png"],
        "--regions is for a page, such as -o group.html",
    ),
    "slices": (
        lambda r: None,
        ["--slices", "900,0,0"],
        "mm lie outside the maps of out, which reaches x from",
    ),
    "threshold": (lambda r: None, ["--threshold", "9"], "--threshold is for a still figure"),
    "subjects": (lambda r: None, ["--subjects", "-1"], "--subjects must be 0 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_no_page(results, run, monkeypatch, case):
    monkeypatch.chdir(results.parent)
    spoil, more, words = BAD[case]
    spoil(results)
    code, said, err = run("report", "--group", "out", "-o", "g.html", "-q", *more)
    assert (code, said) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (results.parent / "g.html").exists()


def test_options_of_groups_need_a_group(tmp_path, run):
    code, _, err = run("report", "-o", tmp_path / "g.html")
    assert (code, err.count("\n")) == (2, 1)
    assert "give a SCAN and its heatmaps, or --group FOLDER" in err
    code, _, err = run("report", "scan.nii.gz", "h.nii.gz", "--subjects", "3", "-o", tmp_path / "g.html")
    assert code == 2
    assert "belong to --group" in err
