"""Signed maps look signed in the page and in the notebook's view, in a real browser.

Screenshots stay in ``test-artefacts/report-signed.png`` and ``notebook-signed.png``.
"""

import json
import time

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
ndimage = pytest.importorskip("scipy.ndimage")
pytest.importorskip("matplotlib")

from browser_support import (  # noqa: E402
    ARTEFACTS,
    SOFTWARE_GL,
    browser,
    complaints,
    needs_chromium,
    pixels,
    set_control,
    state,
)
from report_support import AFFINE  # noqa: E402

import pyadx.report  # noqa: E402

pytestmark = needs_chromium
SHAPE = (32, 36, 28)
FACTS = {
    "method": "sa3ducm",
    "parameters": {"signed": True, "score": "probability"},
    "target": {"index": 1, "name": "AD"},
    "prediction": {"NC": 0.25, "AD": 0.75},
    "occlusion": {"approximate": True, "regions_scored": 215, "regions_that_change": 729},
}


def signed_map(size=1.0):
    """Zeros but for four cubes in one plane: -1, +1, and a weak one of each sign."""
    heat = np.zeros(SHAPE, np.float32)
    for (x, y), value in {(6, 8): -1, (22, 8): 1, (6, 24): -0.3, (22, 24): 0.3}.items():
        heat[x : x + 5, y : y + 5, 10:16] = value * size
    return heat


def grey_scan():
    return np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)


def save(path, data):
    nib.save(nib.Nifti1Image(data, AFFINE), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from pyadx.cli import main

    folder = tmp_path_factory.mktemp("signed")
    scan = save(folder / "scan.nii.gz", grey_scan())
    heatmaps = [save(folder / "heat.nii.gz", signed_map()), save(folder / "tiny.nii.gz", signed_map(1e-7))]
    (folder / "heat.json").write_text(json.dumps(FACTS))
    heatmaps.append(save(folder / "plain.nii.gz", np.abs(signed_map())))
    arguments = ["report", scan, *heatmaps, "-o", folder / "report.html", "-q"]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def driver(folder):
    driver = browser(*SOFTWARE_GL)
    driver.get((folder / "report.html").as_uri())
    state(driver, "complete")
    # The axial section through the cubes, and no crosshair over them.
    driver.execute_script(
        "const nv = window.pyadx.nv; nv.opts.crosshairWidth = 0;"
        "nv.scene.crosshairPos = nv.mm2frac([0, 0, -6]);"
        "document.querySelector('#view').value = 'axial';"
        "document.querySelector('#view').dispatchEvent(new Event('input'));"
    )
    yield driver
    driver.quit()


def show(driver, number, threshold=5, colours="blue-red"):
    set_control(driver, f"input[name=method][value='{number}']", None)
    set_control(driver, "#threshold", str(threshold))
    set_control(driver, "#colours", colours)
    time.sleep(0.5)
    return pixels(driver)


def blue(shown):
    return shown[..., 2] > shown[..., 0] + 40


def red(shown):
    return shown[..., 0] > shown[..., 2] + 40


def test_minus_one_and_plus_one_have_different_colours_and_zero_has_none(driver):
    scan_only = show(driver, -1)
    assert (scan_only.max(2) > 60).mean() > 0.3  # the scan is seen, and it is grey
    assert not blue(scan_only).any()
    assert not red(scan_only).any()
    shown = show(driver, 0)
    ARTEFACTS.mkdir(exist_ok=True)
    driver.save_screenshot(str(ARTEFACTS / "report-signed.png"))
    # The scan is LAS: the first voxels lie at the right, which is the right of the picture.
    assert blue(shown).sum() > 1000
    assert red(shown).sum() > 1000
    assert abs(blue(shown).sum() / red(shown).sum() - 1) < 0.2
    # Only the cubes and their interpolated edges are drawn over the scan.
    cubes = ndimage.binary_dilation(blue(shown) | red(shown), np.ones((3, 3)), iterations=15)
    changed = np.abs(shown - scan_only).max(2) > 8
    assert changed.sum() > 5000
    assert not (changed & ~cubes).any()
    assert (~cubes).mean() > 0.8


def test_the_threshold_hides_both_signs_alike(driver):
    low, high = show(driver, 0, threshold=5), show(driver, 0, threshold=60)
    for colour in (blue, red):
        assert 0.4 < colour(high).sum() / colour(low).sum() < 0.6  # two cubes of four are left
    assert driver.find_element("id", "threshold-text").text == "±0.6"


def test_a_map_of_very_small_values_has_the_same_colours(driver):
    expected, shown = show(driver, 0), show(driver, 1)
    assert (np.abs(expected - shown).max(2) > 8).mean() < 0.001


def test_the_colour_bar_says_what_a_sign_speaks_for(driver):
    show(driver, 0, threshold=20)
    words = driver.find_element("id", "scale").text
    for text in ("-1", "speaks for NC", "0", "speaks for AD"):
        assert text in words
    bar = pixels(driver, "bar")
    row = bar[bar.shape[0] // 2]
    third = len(row) // 3
    assert blue(row[:third]).all()
    assert red(row[-third:]).all()
    middle = row[len(row) // 2 - 20 : len(row) // 2 + 20]
    assert not (blue(middle) | red(middle)).any()
    show(driver, 1)
    words = driver.find_element("id", "scale").text
    assert "negative" in words
    assert "positive" in words
    show(driver, 2, colours="inferno")
    assert "speaks" not in driver.find_element("id", "scale").text


def test_every_diverging_colour_tells_the_signs_apart(driver):
    offered = "return Array.from(document.querySelector('#colours').options).map(o => o.value)"
    show(driver, 0)
    names = driver.execute_script(offered)
    assert len(names) > 1
    assert "inferno" not in names
    for name in names:
        shown = show(driver, 0, colours=name)
        # The picture's left half holds the positive cubes, its right half the negative ones.
        means = []
        for half in np.split(shown, 2, axis=1):
            means.append(half[half.max(2) - half.min(2) > 40].mean(0))
        assert np.abs(means[0] - means[1]).max() > 60, name
    show(driver, 2, colours="inferno")
    assert "blue-red" not in driver.execute_script(offered)


def test_the_page_says_that_a_map_is_approximate(driver):
    words = "approximate: 215 of 729 regions scored"
    show(driver, 0)
    assert driver.find_element("id", "remark").text == words
    assert words in driver.find_element("id", "methods").text
    show(driver, 1)
    assert driver.find_element("id", "remark").text == ""


def test_the_browser_has_nothing_against_the_page(driver):
    assert complaints(driver) == []


def test_the_notebook_view_is_signed_too_and_runs_in_its_frame(folder):
    view = pyadx.report.show(grey_scan(), {"mine": signed_map()}, target="AD", classes=["NC", "AD"])
    page = folder / "notebook.html"
    page.write_text(f"<!DOCTYPE html><body>{view._repr_html_()}</body>", encoding="utf-8")
    driver = browser(*SOFTWARE_GL)
    try:
        driver.get(page.as_uri())
        driver.switch_to.frame(driver.find_element("tag name", "iframe"))
        state(driver, "complete")
        words = driver.find_element("id", "scale").text
        driver.switch_to.default_content()
        driver.save_screenshot(str(ARTEFACTS / "notebook-signed.png"))
        shot = driver.find_element("tag name", "iframe")
        assert shot.is_displayed()
        assert complaints(driver) == []
    finally:
        driver.quit()
    assert "speaks for NC" in words
    assert "speaks for AD" in words
