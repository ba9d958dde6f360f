"""The page of two groups in a real browser: rows lead to regions, a list to subjects, a button copies.

A screenshot stays in ``test-artefacts/groups.png``.
"""

import time

import numpy as np
import pytest

pytest.importorskip("nilearn")
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
)
from group_maps import AFFINE, group_maps, labels

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from pyadx.cli import main

    folder = tmp_path_factory.mktemp("groups")
    group_maps(folder, effect=3)
    atlas, out = folder / "atlas.nii.gz", folder / "g.html"
    fixed = ["--participants", folder / "participants.tsv", "--contrast", "AD - NC", "--permutations", "99"]
    made = ["group", folder / "maps", *fixed, "--regions", atlas, "-o", folder / "out", "-q"]
    for arguments in (made, ["report", "--group", folder / "out", "--regions", atlas, "-o", out, "-q"]):
        assert main([str(argument) for argument in arguments]) == 0
    return out


@pytest.fixture(scope="module")
def driver(page):
    driver = browser(*SOFTWARE_GL)
    driver.get(page.as_uri())
    state(driver, "complete")
    yield driver
    driver.quit()


def chosen(driver):
    script = "const i = document.querySelector('input[name=method]:checked'); return i && i.value"
    return driver.execute_script(script)


def crosshair(driver):
    script = "const nv = window.pyadx.nv; return Array.from(nv.frac2mm(nv.scene.crosshairPos)).slice(0, 3)"
    return np.array(driver.execute_script(script))


def label_at_crosshair(driver):
    voxel = np.linalg.inv(AFFINE) @ np.append(crosshair(driver), 1)
    return int(labels()[tuple(np.rint(voxel[:3]).astype(int))])


def test_a_row_moves_the_crosshair_into_its_region(driver):
    before = pixels(driver)
    buttons = driver.find_elements("css selector", "button.region")
    assert buttons[0].text == "Hippocampus_L"  # the smallest q
    for name, label in (("Vermis", 3), ("Hippocampus_R", 2)):
        (button,) = [one for one in buttons if one.text == name]
        row = button.find_element("xpath", "./ancestor::tr")
        row.find_element("css selector", "td.interval, td.number").click()
        wait_for(lambda name=name: f"highlighted {name}" in readout(driver))
        assert label_at_crosshair(driver) == label
        assert f"region {name}" in readout(driver)
    assert chosen(driver) == "0"  # the difference
    time.sleep(0.5)
    assert (np.abs(pixels(driver) - before).max(2) > 20).sum() > 200
    driver.save_screenshot(str(ARTEFACTS / "groups.png"))


def test_one_subject_is_chosen_from_the_list_and_a_group_again(driver):
    assert driver.find_element("id", "subjects-label").is_displayed()
    options = driver.find_elements("css selector", "#subjects option")
    assert len(options) == 1 + 12
    assert options[1].text.startswith("sub-")
    assert "sub-" not in readout(driver)
    value = options[3].get_attribute("value")
    set_control(driver, "#subjects", value)
    assert chosen(driver) is None
    assert options[3].text in readout(driver)
    assert "correlates with its group's mean" in driver.find_element("id", "remark").text
    set_control(driver, "input[name=method][value='1']", None)
    assert chosen(driver) == "1"
    assert driver.execute_script("return document.getElementById('subjects').value") == ""
    assert "sub-" not in readout(driver)


def test_signs_are_named_by_the_groups(driver):
    set_control(driver, "input[name=method][value='0']", None)
    assert "more in NC" in driver.find_element("id", "low").text
    assert "more in AD" in driver.find_element("id", "high").text


def test_the_methods_text_is_copied_also_where_the_clipboard_is_closed(driver):
    button = driver.find_element("css selector", "button.copy")
    driver.execute_script("navigator.clipboard.writeText = () => Promise.reject(new Error('closed'))")
    button.click()
    wait_for(lambda: button.text != "Copy")
    assert button.text in ("Copied", "Selected: press Ctrl+C")
    assert "The contrast AD - NC was tested" in driver.execute_script("return getSelection().toString()")
    assert complaints(driver) == []
