"""The list of thorough tests names tests that there are."""

from pathlib import Path

import pytest
from thorough import LONG, THOROUGH, holds_thorough, is_long, is_thorough

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("entry", THOROUGH + LONG)
def test_every_entry_names_a_test(entry):
    file, _, name = entry.partition("::")
    text = (TESTS / file).read_text()
    assert f"def {name.partition('[')[0].partition('*')[0]}" in text


def test_parameters_count():
    name = "tests/commands/test_resume.py::test_killed_and_resumed_equals_undisturbed"
    assert is_thorough(f"{name}[15]")
    assert not is_thorough(f"{name}[9]")


def test_a_star_stands_for_any_parameters():
    name = "tests/explainers/test_every_method.py::test_the_layout_of_the_volume_does_not_matter"
    assert is_thorough(f"{name}[gradcam-expanded]")
    assert not is_thorough(f"{name}[gradcam-non-contiguous]")


def test_what_is_long_is_thorough_too():
    name = "tests/inference/test_incremental.py::test_a_thousand_boxes[vggnet]"
    assert is_long(name)
    assert is_thorough(name)
    assert not is_long("tests/package/test_wheel.py::test_wheel_holds_both_libraries_and_no_sources")


def test_files_without_any_are_not_even_read():
    assert holds_thorough(TESTS / "commands/test_resume.py")
    assert not holds_thorough(TESTS / "package/test_thorough.py")
