"""Bars of regions in a real browser: they show their region, by mouse and by key, and give their table.

A screenshot stays in ``test-artefacts/regions.png``.
"""

import time

import numpy as np
import pytest

pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

from browser_support import (
    ARTEFACTS,
    SOFTWARE_GL,
    browser,
    complaints,
    needs_chromium,
    pixels,
    readout,
    set_control,
    state,
    wait_for,
    webdriver,
)
from region_cases import save_regions

pytestmark = needs_chromium
NAMES = ["<b>cortex", "ventricle", "hippocampus"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from pyadx.cli import main

    folder = tmp_path_factory.mktemp("regions")
    paths = save_regions(folder, names=NAMES)
    out = folder / "r.html"
    arguments = ["report", paths["scan"], paths["gradcam"], paths["shapley"], "-o", out, "-q"]
    assert main([str(argument) for argument in arguments]) == 0
    return out


@pytest.fixture(scope="module")
def driver(page):
    driver = browser(*SOFTWARE_GL)
    folder = page.parent / "downloads"
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
    )
    driver.get(page.as_uri())
    state(driver, "complete")
    yield driver
    driver.quit()


def bar(driver, name):
    return next(b for b in driver.find_elements("css selector", "button.region") if b.text == name)


def test_a_bar_shows_its_region_and_its_heatmap(driver):
    before = pixels(driver)
    assert not driver.execute_script("return document.querySelector('input[value=\"1\"]').checked")
    bar(driver, "ventricle").click()
    wait_for(lambda: "highlighted ventricle" in readout(driver))
    assert "Shapley values of regions -1.3" in readout(driver)  # the crosshair is in it
    assert driver.execute_script("return document.querySelector('input[value=\"1\"]').checked")
    assert bar(driver, "ventricle").get_attribute("aria-pressed") == "true"
    time.sleep(0.5)
    assert (np.abs(pixels(driver) - before).max(2) > 20).sum() > 200
    driver.save_screenshot(str(ARTEFACTS / "regions.png"))


def test_a_key_does_what_a_click_does_and_once_more_hides_the_border(driver):
    driver.execute_script("arguments[0].focus()", bar(driver, "hippocampus"))
    keys = webdriver.ActionChains(driver)
    keys.send_keys(webdriver.Keys.ENTER).perform()
    wait_for(lambda: "highlighted hippocampus" in readout(driver))
    assert "Shapley values of regions 0.39" in readout(driver)
    pressed = driver.find_elements("css selector", "button.region[aria-pressed=true]")
    assert [b.text for b in pressed] == ["hippocampus"]
    time.sleep(0.5)
    marked = pixels(driver)
    webdriver.ActionChains(driver).send_keys(webdriver.Keys.SPACE).perform()
    wait_for(lambda: "highlighted" not in readout(driver))
    time.sleep(0.5)
    green = marked - pixels(driver)
    assert (np.abs(green).max(2) > 20).sum() > 20  # the border is gone, and nothing else moved
    assert not driver.find_elements("css selector", "button.region[aria-pressed=true]")


def test_a_page_of_one_scan_has_no_list_of_subjects(driver):
    assert not driver.find_element("id", "subjects-label").is_displayed()


def test_names_are_text_and_the_whole_row_is_a_bar(driver):
    row = bar(driver, "<b>cortex").find_element("xpath", "./ancestor::tr")
    row.find_element("css selector", "svg").click()
    wait_for(lambda: "highlighted <b>cortex" in readout(driver))
    assert not driver.find_elements("css selector", "main b, button b")
    assert complaints(driver) == []


def test_bars_follow_the_colours_of_the_viewer(driver):
    def colour():
        script = "return getComputedStyle(document.querySelector('rect.plus')).fill"
        return driver.execute_script(script)

    assert colour() == "rgb(212, 84, 22)"
    set_control(driver, "#colours", "green-purple")
    assert colour() == "rgb(156, 80, 196)"
    set_control(driver, "#colours", "blue-red")
    assert colour() == "rgb(212, 84, 22)"


def test_the_button_gives_the_table(driver, page):
    driver.find_element("css selector", "button.download").click()
    file = page.parent / "downloads" / "Shapley-values-of-regions_regions.tsv"
    wait_for(file.is_file)
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    assert rows[0][:4] == ["name", "label", "value", "standard_error"]
    assert [row[0] for row in rows[1:]] == ["ventricle", "<b>cortex", "hippocampus"]
    assert rows[1][2] == "-1.3"
    assert complaints(driver) == []


def test_without_webgl_bars_are_still_there_and_the_table_too(page):
    driver = browser("--disable-gpu", "--disable-3d-apis")
    try:
        driver.get(page.as_uri())
        assert state(driver, "static", "ready", "complete") == "static"
        (first, *_) = driver.find_elements("css selector", "button.region")
        assert first.is_displayed()
        assert not first.is_enabled()
        assert driver.find_element("css selector", "button.download").is_enabled()
    finally:
        driver.quit()
