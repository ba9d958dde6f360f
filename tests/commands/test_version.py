import subprocess
import sys

import pyadx


def test_version_is_one_line_and_exit_code_0(run):
    assert run("--version") == (0, f"pyadx {pyadx.__version__}\n", "")


def test_version_of_the_installed_command():
    command = [sys.executable, "-m", "pyadx", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"pyadx {pyadx.__version__}\n"


def test_help_still_names_what_pyadx_is(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "not a medical device" in " ".join(out.split())
    assert "Hold what" not in out
