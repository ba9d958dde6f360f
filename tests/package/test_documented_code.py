"""The code that README and docs show runs as it stands there. Lines with >>> are run by doctest."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from commands_support import AFFINE, brain

import pyadx
from pyadx.explainers import parse_method, registry

nib = pytest.importorskip("nibabel")
ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def plain_blocks(page):
    return [block for block in blocks(page, "python") if ">>>" not in block]


def test_the_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(brain((40, 44, 36)), AFFINE), "sub-01_T1w.nii.gz")
    scan = np.zeros((48, 48, 48), bool)
    scan[20:30, 20:30, 20:30] = True
    labels = np.ones((48, 48, 48), np.int32)
    labels[24:] = 2
    # What the text says that a reader has: regions of a scan, and the brain.
    names = {"mask": scan, "brain": np.ones_like(scan), "cortex_mask": scan, "lobes": labels}
    names["aseg"] = labels * 2 - (np.arange(48) < 24)
    found = plain_blocks(ROOT / "README.md")
    assert len(found) >= 4
    for block in found:
        exec(compile(block, "README.md", "exec"), names)
    assert Path("heat.nii.gz").is_file()
    assert Path("tree.npz").is_file()
    assert set(names["scores"]) == {"hippocampus"}
    assert set(names["found"].reports[0].groups) == {"cortex"}


def test_the_method_of_the_docs_is_a_method(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    (block,) = plain_blocks(ROOT / "docs/methods/spelling.md")
    exec(compile(block, "spelling.md", "exec"), {"__name__": "documented"})
    model = pyadx.models.build("resnet-shallow-gap", (16, 16, 16), seed=0)
    found = pyadx.explainer("saliency:power=0.5", model).run(torch.rand(2, 1, 16, 16, 16), target="AD")
    assert found.heatmap.shape == (2, 16, 16, 16)
    assert found.heatmap.max() > 0
    assert found.method == "saliency:power=0.5"


def test_no_block_of_code_is_left_out():
    known = {ROOT / "README.md", ROOT / "docs/methods/spelling.md"}
    assert {page for page in PAGES if plain_blocks(page)} == known


def command_lines():
    for page in PAGES:
        for block in [*blocks(page, "console"), *blocks(page, "bash")]:
            for line in block.replace("\\\n", " ").splitlines():
                line = line.strip().removeprefix("$ ")
                if line.startswith("pyadx "):
                    yield pytest.param(line, id=f"{page.name}: {line[:60]}")


@pytest.mark.parametrize("line", command_lines())
def test_commands_are_spelled_as_the_command_line_knows_them(line):
    import typer

    from pyadx.cli import app

    name, *arguments = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    if name.startswith("-"):
        return
    context = command.commands[name].make_context(name, [a for a in arguments if not a.startswith(">")])
    for spelling in [context.params.get("method"), *(context.params.get("methods") or [])]:
        for one in (spelling or "").split():
            parse_method(one)
