"""A package that is missing is named with the command that installs it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pyadx
from pyadx import extras
from pyadx.cli import main
from pyadx.extras import needed_for

ROOT = Path(__file__).resolve().parents[2]


def declared():
    """The extras of pyproject.toml, each with the packages that it asks for."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(("package", "extra"), [(p, e) for p, (_, e) in extras._PACKAGES.items()])
def test_every_extra_that_is_named_brings_the_package(package, extra):
    asked = {re.split("[>=]", one)[0] for one in declared()[extra]}
    assert {"sklearn": "scikit-learn"}.get(package, package.replace("_", "-")) in {
        one.replace("_", "-") for one in asked
    }


@pytest.mark.parametrize("package", [*extras._PACKAGES, "onnx2torch"])
def test_a_missing_package_is_one_line_with_the_command(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    told = r"^this needs .*; install .* with: pip install "
    with pytest.raises(ValueError, match=told) as raised, needed_for("this"):
        __import__(package)
    assert "\n" not in str(raised.value)


def test_other_import_errors_pass_as_they_are():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), needed_for("this"):
        __import__("no_such_package")


def test_figures_say_what_they_need(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'pyadx\[report\]'"):
        pyadx.report.save_panels(tmp_path / "a.png", np.ones((4, 4, 4)), {}, "title")
    with pytest.raises(ValueError, match=r"pip install 'pyadx\[report\]'"):
        pyadx.report.show(np.ones((4, 4, 4)), np.ones((4, 4, 4)))


def test_a_command_says_it_too(monkeypatch, capsys, tmp_path):
    from pyadx.commands.reporting import report

    def needs(*_, **__):
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(report, "check_figures_possible", needs)
    (tmp_path / "a.nii.gz").write_bytes(b"")
    assert main(["report", str(tmp_path / "a.nii.gz"), str(tmp_path / "a.nii.gz"), "-o", "page.html"]) == 2
    assert capsys.readouterr().err.endswith(
        "needs scikit-learn; install it with: pip install 'pyadx[train]'\n"
    )


def test_sources_that_are_not_built_say_what_to_do(tmp_path):
    package = tmp_path / "clone/pyadx"
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.js")
    shutil.copytree(Path(pyadx.__file__).parent, package, ignore=ignored)
    command = [sys.executable, "-c", "import pyadx"]
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for built, words in (
        ("wheel", "could not be loaded from"),
        ("sources", "start Python in another folder"),
    ):
        if built == "sources":
            (package.parent / "pyproject.toml").touch()
        told = subprocess.run(command, cwd=package.parent, env=without, capture_output=True, text=True)
        assert told.returncode == 1
        assert words in told.stderr.splitlines()[-1]
