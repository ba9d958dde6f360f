"""`import pyadx` alone gives every room of the package, and loads those with heavy libraries when used."""

import ast
import subprocess
import sys

import pytest

LAZY = ["data", "evaluation", "report", "training"]


USES = {
    "pyadx.report.show.__name__": "show",
    "pyadx.data.read_scan.__name__": "read_scan",
    "pyadx.evaluation.precision_recall.__name__": "precision_recall",
    "pyadx.training.PROTOCOLS is not None": "True",
    "pyadx.models.demonstration.demonstration_checkpoint('vggnet').name": "vggnet.safetensors",
}
LISTED = (
    f"(lambda names: (all(n in names for n in {LAZY}), 'show' in names, 'demonstration' in "
    f"dir(pyadx.models), [n for n in {LAZY} if 'pyadx.' + n in sys.modules]))(dir(pyadx))"
)
# Each in a process of its own that has imported the package alone.
FORKS = """
import os, sys, traceback, pyadx
for use in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork() == 0:
        try:
            print(repr(str(eval(use))), flush=True)
        except BaseException:
            print(repr(traceback.format_exc()), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What is found in fresh interpreters, away from the tree."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS, *USES, LISTED],
        cwd=tmp_path_factory.mktemp("alone"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    return dict(zip([*USES, LISTED], lines, strict=True))


@pytest.mark.parametrize(("use", "shown"), USES.items())
def test_a_room_is_there_after_importing_the_package_alone(use, shown, alone):
    assert alone[use] == shown


def test_lazy_rooms_are_listed_and_not_loaded_by_listing(alone):
    assert alone[LISTED] == "(True, False, True, [])"


def test_a_name_that_does_not_exist_stays_an_attribute_error():
    import pyadx

    for module in (pyadx, pyadx.models):
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            module.nonsense  # noqa: B018
    assert not hasattr(pyadx, "cli_that_is_not_there")
