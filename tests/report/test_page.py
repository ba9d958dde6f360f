"""The page holds what it was given, escaped, and nothing that is fetched."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")
torch = pytest.importorskip("torch")

from report_support import AFFINE, save_case  # noqa: E402

import pyadx.report  # noqa: E402
from pyadx.report.quantised import quantised_nifti  # noqa: E402


def page_data(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found[1])


def volume(text):
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.mark.parametrize("signed", [False, True])
def test_quantised_volumes_are_within_half_a_step(signed):
    values = np.random.default_rng(0).normal(0, 3, (7, 9, 8)).astype(np.float32)
    values = values if signed else np.abs(values)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(quantised_nifti(values, AFFINE)))
    assert image.get_data_dtype() == (np.int8 if signed else np.uint8)
    assert np.array_equal(image.affine, AFFINE)
    step = np.abs(values).max() / (127 if signed else 255)
    assert np.abs(image.get_fdata() - values).max() <= step / 2 * 1.001
    assert not np.abs(
        nib.Nifti1Image.from_bytes(
            gzip.decompress(quantised_nifti(np.zeros((3, 3, 3)), AFFINE))
        ).get_fdata()
    ).any()


def test_report_holds_scan_heatmaps_regions_curves_and_provenance(tmp_path, run):
    paths = save_case(tmp_path)
    out = tmp_path / "report.html"
    code, said, _ = run(
        "report",
        paths["scan"],
        paths["gradcam"],
        paths["occlusion"],
        "-o",
        out,
        "--regions",
        paths["labels"],
    )
    assert code == 0
    assert "report.html" in said
    page = out.read_text()
    data = page_data(page)
    assert [heat["name"] for heat in data["heatmaps"]] == [
        "Grad-CAM (vggnet, conv2b)",
        "Occlusion (vggnet)",
    ]
    heat = nib.load(paths["gradcam"])
    shown = volume(data["heatmaps"][0]["nifti"])
    assert np.allclose(shown.affine, heat.affine)
    assert np.allclose(shown.get_fdata(), heat.get_fdata(), atol=heat.get_fdata().max() / 500)
    regions = volume(data["regions"]["nifti"]).get_fdata()
    labels = nib.load(paths["labels"]).get_fdata()
    for number, name, label in ((1, "cortex", 3), (2, "ventricle", 4), (3, "hippocampus", 17)):
        assert data["regions"]["names"][number] == name
        assert np.array_equal(regions == number, labels == label)
    strongest = np.unravel_index(heat.get_fdata().argmax(), heat.shape)
    assert np.allclose(data["at"], nib.affines.apply_affine(AFFINE, strongest))
    for words in (
        "Average precision".lower(),
        "prevalence",
        "NC 0.250, AD 0.750",
        "window 7",
        "Still sections",
    ):
        assert words in page


def test_the_page_names_the_reference_and_how_far_a_second_one_agrees(tmp_path, run):
    paths = save_case(tmp_path, methods=("occlusion",))
    sidecar = tmp_path / "occlusion.json"
    facts = json.loads(sidecar.read_text())
    facts["reference"] = {"option": "fill", "name": "local"}
    facts["second_reference"] = {"name": "controls", "correlation": 0.431, "share_with_other_sign": 0.12}
    sidecar.write_text(json.dumps(facts))
    out = tmp_path / "report.html"
    assert run("report", paths["scan"], paths["occlusion"], "-o", out)[0] == 0
    words = "local; with controls: correlation 0.431, 12% of this map has the other sign"
    assert f"<td>{words}</td>" in out.read_text()


def test_nothing_in_the_page_is_fetched(tmp_path, run):
    paths = save_case(tmp_path)
    assert run("report", paths["scan"], paths["gradcam"], "-o", tmp_path / "r.html")[0] == 0
    page = (tmp_path / "r.html").read_text()
    assert "default-src 'none'" in page

    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag not in ("link", "iframe", "base")
            for name, value in attributes:
                if name in ("src", "href"):
                    assert value.startswith("data:"), value

    Links().feed(page)


def test_names_and_titles_are_data_and_never_markup(tmp_path, run):
    paths = save_case(tmp_path)
    evil = "</script><script>alert(1)</script>"
    facts = json.loads((tmp_path / "gradcam.json").read_text())
    facts["method"] = evil
    facts["parameters"]["layer"] = evil
    (tmp_path / "gradcam.json").write_text(json.dumps(facts))
    out = tmp_path / "r.html"
    assert (
        run("report", paths["scan"], paths["gradcam"], "-o", out, "--title", f"<img src=x>{evil}")[0] == 0
    )
    page = out.read_text()
    assert "alert(1)</script>" not in page
    assert "<img src=x>" not in page
    assert page_data(page)["heatmaps"][0]["name"].startswith(evil)


def test_bad_input_is_one_line(tmp_path, run):
    paths = save_case(tmp_path)
    out = tmp_path / "r.html"

    def fails(words, *arguments):
        code, _, error = run("report", *arguments)
        assert code == 2
        assert words in error
        assert error.count("\n") == 1

    moved = tmp_path / "moved.nii.gz"
    affine = AFFINE.copy()
    affine[0, 3] += 10
    nib.save(nib.Nifti1Image(nib.load(paths["gradcam"]).get_fdata(), affine), moved)
    fails("is not on the voxels", paths["scan"], moved, "-o", out)
    fails("written as .html", paths["scan"], paths["gradcam"], "-o", tmp_path / "r.svg")
    fails("no such file", paths["scan"], tmp_path / "none.nii.gz", "-o", out)
    (tmp_path / "gradcam.json").write_text("{")
    fails("cannot be read as JSON", paths["scan"], paths["gradcam"], "-o", out)
    assert not out.exists()
    out.write_text("mine")
    fails("--overwrite", paths["scan"], paths["occlusion"], "-o", out)
    assert out.read_text() == "mine"


def test_show_gives_a_frame_that_a_notebook_displays():
    scan = torch.rand(1, 1, 12, 13, 14)
    view = pyadx.report.show(scan, {"mine": scan[0] * 2, "other": -scan[0, 0]}, title="a & b")
    frame = view._repr_html_()
    assert frame.startswith("<iframe")
    assert "sandbox" in frame
    data = page_data(view.page)
    assert [heat["name"] for heat in data["heatmaps"]] == ["mine", "other"]
    assert [heat["signed"] for heat in data["heatmaps"]] == [False, True]
    assert np.allclose(np.diag(volume(data["scan"]["nifti"]).affine), [2, 2, 2, 1])
    with pytest.raises(ValueError, match="has shape"):
        pyadx.report.show(scan, torch.rand(3, 3, 3))
    with pytest.raises(ValueError, match="NaN"):
        pyadx.report.show(scan, scan * torch.nan)


def test_the_viewer_is_the_pinned_release_with_its_licence():
    folder = Path(pyadx.report.__file__).with_name("viewer")
    digest = hashlib.sha256((folder / "niivue.umd.js").read_bytes()).hexdigest()
    assert digest == "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
    assert "Copyright (c) 2021, Niivue" in (folder / "NIIVUE-LICENSE").read_text()
