"""The list of thorough tests names tests that there are."""

from pathlib import Path

import pytest
from thorough import THOROUGH, holds_thorough, is_thorough

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("entry", THOROUGH)
def test_every_entry_names_a_test(entry):
    file, _, name = entry.partition("::")
    text = (TESTS / file).read_text()
    assert f"def {name.partition('[')[0]}" in text


def test_parameters_count():
    name = "tests/commands/test_resume.py::test_killed_and_resumed_equals_undisturbed"
    assert is_thorough(f"{name}[15]")
    assert not is_thorough(f"{name}[9]")


def test_files_without_any_are_not_even_read():
    assert holds_thorough(TESTS / "commands/test_resume.py")
    assert not holds_thorough(TESTS / "package/test_thorough.py")
