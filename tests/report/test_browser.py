"""The page in a real browser: it opens offline, says nothing on the console, and its controls work.

A screenshot stays in ``test-artefacts/report.png``.
"""

import time

import pytest

pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

from browser_support import (
    ARTEFACTS,
    SOFTWARE_GL,
    browser,
    change,
    complaints,
    needs_chromium,
    pixels,
    state,
    webdriver,
)
from report_support import save_case

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from pyadx.cli import main

    folder = tmp_path_factory.mktemp("page")
    paths = save_case(folder, methods=("gradcam", "occlusion", "sa3ducm"))
    heatmaps = [paths[name] for name in ("gradcam", "occlusion", "sa3ducm")]
    out = folder / "report.html"
    arguments = ["report", paths["scan"], *heatmaps, "-o", out, "--regions", paths["labels"], "-q"]
    assert main([str(argument) for argument in arguments]) == 0
    return out


@pytest.fixture(scope="module")
def driver(page):
    driver = browser(*SOFTWARE_GL)
    driver.get(page.as_uri())
    state(driver, "complete")
    yield driver
    driver.quit()


def test_it_opens_without_network_and_without_a_word_on_the_console(driver):
    assert complaints(driver) == []
    requests = [
        entry["message"]
        for entry in driver.get_log("performance")
        if "requestWillBeSent" in entry["message"]
    ]
    assert requests
    for message in requests:
        assert '"url":"file:' in message or '"url":"data:' in message or '"url":"blob:' in message
    ARTEFACTS.mkdir(exist_ok=True)
    driver.save_screenshot(str(ARTEFACTS / "report.png"))


def test_the_picture_shows_the_brain_in_colour(driver):
    shown = pixels(driver)
    assert (shown.max(2) > 60).mean() > 0.03
    assert (shown.max(2) - shown.min(2) > 60).sum() > 500


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("input[name=method][value='1']", None),
        ("#threshold", "80"),
        ("#threshold", "5"),
        ("#opacity", "15"),
        ("#colours", "viridis"),
        ("#outlines", None),
        ("#view", "axial"),
        ("#view", "multiplanar + 3D"),
        ("input[name=method][value='-1']", None),
    ],
)
def test_every_control_changes_the_picture(driver, element, value):
    assert change(driver, element, value) > 50


def test_the_crosshair_tells_the_value_of_every_heatmap_and_the_region(driver):
    text = driver.find_element("id", "readout").text
    for words in ("region\nhippocampus", "region hippocampus"):
        if words in text:
            break
    else:
        raise AssertionError(text)
    before = text
    for name in ("Grad-CAM (vggnet, conv2b)", "Occlusion (vggnet)", "SA-3DUCM (vggnet)"):
        assert name in text
    canvas = driver.find_element("id", "canvas")
    webdriver.ActionChains(driver).move_to_element_with_offset(canvas, -150, -120).click().perform()
    time.sleep(0.5)
    assert driver.find_element("id", "readout").text != before


def test_without_webgl_the_still_sections_are_shown(page):
    driver = browser("--disable-gpu", "--disable-3d-apis")
    try:
        driver.get(page.as_uri())
        assert state(driver, "static", "ready", "complete") == "static"
        assert driver.find_element("id", "no-webgl").is_displayed()
        assert driver.find_element("css selector", "#panels img").is_displayed()
        assert not driver.find_element("id", "viewer").is_displayed()
    finally:
        driver.quit()
