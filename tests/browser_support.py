"""A real browser without a screen, and what it shows."""

import io
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver")
image = pytest.importorskip("PIL.Image")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM or not DRIVER, reason="needs chromium and chromedriver (Debian: chromium chromium-driver)"
)
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
ARTEFACTS = Path(__file__).parents[1] / "test-artefacts"


def browser(*flags):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
        *flags,
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    # Nothing outside can be reached, even if the page tried.
    driver.execute_cdp_cmd("Network.enable", {})
    return driver


def state(driver, *wanted, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = driver.execute_script("return document.body.dataset.state")
        if found in wanted:
            return found
        time.sleep(0.05)
    raise AssertionError(f"the page stays {found}: {driver.get_log('browser')}")


def complaints(driver):
    """What the browser wrote on its console, such as a breach of the content security policy."""
    return [entry for entry in driver.get_log("browser") if entry["level"] != "DEBUG"]


def pixels(driver, element="canvas"):
    shot = driver.find_element("id", element).screenshot_as_png
    return np.asarray(image.open(io.BytesIO(shot)).convert("RGB"), np.int16)


def set_control(driver, element, value):
    """Set a control as a user would."""
    driver.execute_script(
        "const e = document.querySelector(arguments[0]);"
        "if (arguments[1] === null) e.click();"
        "else { e.value = arguments[1]; e.dispatchEvent(new Event('input', {bubbles: true})); }",
        element,
        value,
    )


def change(driver, element, value):
    """Set a control, and return by how many pixels the picture changed."""
    before = pixels(driver)
    set_control(driver, element, value)
    time.sleep(0.5)
    return int((np.abs(pixels(driver) - before).max(2) > 20).sum())


def readout(driver):
    """What the page says of the place under the crosshair, in one line."""
    return driver.find_element("id", "readout").text.replace("\n", " ")


def wait_for(condition, seconds=10):
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
