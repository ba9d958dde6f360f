"""What somebody meets who builds pyadx where something is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("environment", "found"),
    [({"PATH": ""}, "none was found"), ({"CXX": "no-such-c++ -m64"}, "CXX=no-such-c++ was not found")],
)
def test_a_missing_compiler_is_one_line_before_anything_is_built(environment, found):
    pytest.importorskip("setuptools")
    pytest.importorskip("pybind11")
    given = {name: value for name, value in os.environ.items() if name != "CXX"} | environment
    build = [sys.executable, "setup.py", "build_ext", "--build-temp", "unused", "--build-lib", "unused"]
    result = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False, env=given)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert f"needs a C++17 compiler, and {found}" in last
    assert "apt-get install g++" in last
    assert not (ROOT / "unused").exists()
