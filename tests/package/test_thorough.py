"""The list of thorough tests names tests that there are."""

from pathlib import Path

import pytest
from thorough import THOROUGH, is_thorough

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
