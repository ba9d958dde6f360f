"""The page runs its own scripts only, and tells nothing of folders or of what a scanner wrote."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

from report_support import save_case  # noqa: E402

from pyadx.report.sidecars import approximation, shareable  # noqa: E402

SECRET = b"Name: Jane Roe; born 1931"


class Inline(HTMLParser):
    """The texts of scripts and styles, as a browser's parser finds them."""

    def __init__(self, page):
        super().__init__()
        self.found = {"script": [], "style": []}
        self.inside = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        assert not any(name == "style" or name.startswith("on") for name, _ in attributes)
        if tag in self.found and not attributes:
            self.inside = tag
            self.found[tag].append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, text):
        if self.inside:
            self.found[self.inside][-1] += text


def hashes(texts):
    return {f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts}


def test_the_policy_allows_the_scripts_and_styles_of_the_page_by_hash_and_no_others(tmp_path, run):
    paths = save_case(tmp_path)
    assert run("report", paths["scan"], paths["gradcam"], "-o", tmp_path / "r.html")[0] == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "unsafe" not in policy
    rules = {name: set(rest) for name, *rest in (rule.split() for rule in policy.split(";"))}
    assert rules["default-src"] == {"'none'"}
    inline = Inline(page).found
    assert (len(inline["script"]), len(inline["style"])) == (2, 1)
    assert rules["script-src"] == hashes(inline["script"])
    assert rules["style-src"] == hashes(inline["style"])


def plant(path):
    image = nib.load(path)
    image = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    image.header["descrip"] = SECRET
    image.header["aux_file"] = SECRET[:23]
    image.header["intent_name"] = SECRET[:15]
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SECRET))
    nib.save(image, path)
    assert SECRET[:15] in gzip.decompress(path.read_bytes())


def test_the_page_holds_no_header_text_and_no_folder(tmp_path, run):
    paths = save_case(tmp_path)
    for path in paths.values():
        plant(path)
    facts = json.loads((tmp_path / "gradcam.json").read_text())
    facts["scan"] = {"file": "/data/Jane Roe/t1.nii.gz", "was": r"C:\Jane Roe\t1.nii.gz"}
    facts["command"] = "pyadx explain /data/janeroe/t1.nii.gz --model=/data/janeroe/net.safetensors"
    (tmp_path / "gradcam.json").write_text(json.dumps(facts))
    # What another program wrote beside a heatmap is not ours to show.
    (tmp_path / "occlusion.json").write_text(json.dumps({"PatientName": "Jane Roe"}))
    out = tmp_path / "r.html"
    code = run(
        "report",
        paths["scan"],
        paths["gradcam"],
        paths["occlusion"],
        "-o",
        out,
        "--regions",
        paths["labels"],
    )[0]
    assert code == 0
    page = out.read_text(encoding="utf-8")
    payloads = [base64.b64decode(text) for text in re.findall(r'"nifti": "([^"]+)"', page)]
    assert len(payloads) == 4
    decoded = [gzip.decompress(payload) for payload in payloads]
    for text in (page.encode(), *decoded):
        assert not re.search(rb"Jane Roe|janeroe|born 1931", text)
    assert str(tmp_path) not in page
    assert "t1.nii.gz" in page


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/jane/a b.nii", "a b.nii"),
        (r"C:\jane\a.nii", "a.nii"),
        (r"\\server\jane\a.nii", "a.nii"),
        ("~/jane/a.nii", "a.nii"),
        ("file:///home/jane/a.nii", "a.nii"),
        ("scan:/home/jane/a.nii", "scan:a.nii"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("n/a", "n/a"),
        ("mm/s, NC/AD", "mm/s, NC/AD"),
    ],
)
def test_of_a_path_the_last_part_is_left(text, left):
    assert shareable({"x": [text], text: 1.5}) == {"x": [left], left: 1.5}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"approximate": True, "scored": 215, "regions": 729}, "approximate: 215 of 729 regions scored"),
        ({"occlusion": {"approximate": {"scored": 2, "of": 3}}}, "approximate: 2 of 3 regions scored"),
        ({"occlusion": {"approximate": True}}, "approximate"),
        (
            {"report": {"approximate": True, "evaluations": 729, "evaluated": 215}},
            "approximate: 215 of 729 regions scored",
        ),
        ({"occlusion": {"approximate": False, "scored": 3, "regions": 3}}, ""),
        ({"occlusion": None}, ""),
    ],
)
def test_the_sidecar_says_that_a_map_is_approximate(facts, words):
    assert approximation(facts) == words
