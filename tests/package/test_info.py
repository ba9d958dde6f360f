import re

import pytest

pytest.importorskip("typer")

import pyadx
from pyadx.cli import main


def test_info_names_versions_builds_and_the_reason_for_no_cuda(capsys):
    assert main(["info"]) == 0
    rows = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if "CUDA k" not in line
    )
    assert rows["pyadx"] == pyadx.__version__
    assert re.match(r"\d+\.\d+", rows["torch"])
    assert re.match(r"on: |off: \S+", rows["CUDA"])
    assert "threads" in rows["CPU"]


def test_help_is_shown_without_arguments(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("explain", "demo", "info"))
    assert "not a medical device" in " ".join(out.split())
