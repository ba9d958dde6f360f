"""The figures of the documentation can be drawn again by the scripts that drew them."""

import pytest
from doc_scripts import ROOT, script

from pyadx.explainers import parse_method

pytest.importorskip("matplotlib")
pytest.importorskip("nilearn")


def test_boxes_that_a_window_changes_grow_as_the_page_says(tmp_path, monkeypatch):
    boxes = script("growing_boxes")
    monkeypatch.setattr(boxes, "FOLDER", tmp_path)
    boxes.main()
    assert {file.name for file in tmp_path.iterdir()} == {"growing-boxes.png", "box-shares.png"}
    model = boxes.pyadx.models.build("vggnet", boxes.GRID, seed=0).double().eval()
    sides = {name: (box[:, 1] - box[:, 0]).tolist() for name, _, _, box in boxes.layers(model)}
    assert sides["scan"] == [7, 7, 7]
    assert sides["conv1b"] == [11, 11, 11]
    assert sides["conv4a"] == [7, 7, 7]  # all of that layer


def test_the_picture_of_a_method_is_drawn(tmp_path, monkeypatch):
    pictures = script("method_pictures")
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    pictures.main(["gradcam"])
    assert (tmp_path / "gradcam.png").stat().st_size > 10_000


def test_every_picture_names_methods_and_is_there():
    pictures = script("method_pictures")
    for page, methods in pictures.PAGES.items():
        assert (ROOT / f"docs/figures/{page}.png").is_file()
        assert (ROOT / f"docs/methods/{page}.md").is_file()
        assert all(parse_method(method) for method in methods)
