"""`import pyadx` alone gives every room of the package, and loads those with heavy libraries when used."""

import subprocess
import sys

import pytest

LAZY = ["data", "evaluation", "report", "training"]


def alone(code, tmp_path):
    """Run code in a fresh interpreter, away from the tree."""
    return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("use", "shown"),
    [
        ("pyadx.report.show.__name__", "show"),
        ("pyadx.data.read_scan.__name__", "read_scan"),
        ("pyadx.evaluation.precision_recall.__name__", "precision_recall"),
        ("pyadx.training.PROTOCOLS is not None", "True"),
        ("pyadx.models.demonstration.demonstration_checkpoint('vggnet').name", "vggnet.safetensors"),
    ],
)
def test_a_room_is_there_after_importing_the_package_alone(use, shown, tmp_path):
    result = alone(f"import pyadx; print({use})", tmp_path)
    assert result.stdout.strip() == shown, result.stderr


def test_lazy_rooms_are_listed_and_not_loaded_by_listing(tmp_path):
    code = (
        f"import sys, pyadx; names = dir(pyadx); print(all(n in names for n in {LAZY}), 'show' in names, "
        f"'demonstration' in dir(pyadx.models), [n for n in {LAZY} if 'pyadx.' + n in sys.modules])"
    )
    assert alone(code, tmp_path).stdout == "True False True []\n"


def test_a_name_that_does_not_exist_stays_an_attribute_error():
    import pyadx

    for module in (pyadx, pyadx.models):
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            module.nonsense  # noqa: B018
    assert not hasattr(pyadx, "cli_that_is_not_there")
