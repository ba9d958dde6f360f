import subprocess
import sys

import typer

import pyadx
from pyadx.cli.common import app


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


def test_help_has_no_emoji(run, monkeypatch):
    """rich takes a word between colons for the name of one, as in `net.py:factory: .pt`."""
    monkeypatch.setenv("COLUMNS", "200")
    commands = typer.main.get_command(app).commands
    assert len(commands) > 15
    for name in commands:
        code, out, _ = run(name, "--help")
        assert code == 0
        assert not [character for character in out if ord(character) > 0x2600], name
