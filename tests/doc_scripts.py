"""The scripts of the documentation, which are no package."""

import importlib.util
import sys
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]


def script(name):
    folder = ROOT / "docs/scripts"
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with mock.patch.object(sys, "path", [str(folder), *sys.path]):  # they import each other
        spec.loader.exec_module(module)
    return module
