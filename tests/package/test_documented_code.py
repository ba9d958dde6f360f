"""The code that README and docs show runs as it stands there. Lines with >>> are run by doctest."""

import re
import shlex
from pathlib import Path

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


# The page that shows how a method is added has a test of its own.
OWN_TEST = {ROOT / "docs/methods/spelling.md"}


def run_page(page):
    """Run the blocks of a page as a reader pastes them, one after the other; return the names they made."""
    names = {"__name__": "documented"}
    for block in plain_blocks(page):
        exec(compile(block, page.name, "exec"), names)
    return names


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """A folder with what the text says that a reader has: a scan."""
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(brain((40, 44, 36)), AFFINE), "scan.nii.gz")


def test_the_readme_runs_as_pasted(somewhere):
    names = run_page(ROOT / "README.md")
    assert names["heat"].shape == (1, 48, 48, 48)
    assert names["found"].method == "sa3ducm"
    assert "SA-3DUCM" in names["view"].page


WITH_CODE = [page for page in PAGES if plain_blocks(page) and page not in OWN_TEST | {ROOT / "README.md"}]


@pytest.mark.filterwarnings("ignore:scan.nii.gz")  # it is no scan of a head
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_a_page_runs_as_pasted(page, somewhere):
    assert run_page(page)


def test_there_are_pages_with_code():
    assert {page.name for page in WITH_CODE} >= {"get-started.md", "ucm.md", "your-own-cohort.md"}


def test_the_method_of_the_docs_is_a_method(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    (block,) = plain_blocks(ROOT / "docs/methods/spelling.md")
    exec(compile(block, "spelling.md", "exec"), {"__name__": "documented"})
    model = pyadx.models.build("resnet-shallow-gap", (16, 16, 16), seed=0)
    found = pyadx.explainer("saliency:power=0.5", model).run(torch.rand(2, 1, 16, 16, 16), target="AD")
    assert found.heatmap.shape == (2, 16, 16, 16)
    assert found.heatmap.max() > 0
    assert found.method == "saliency:power=0.5"


def command_lines():
    for page in PAGES:
        for block in [*blocks(page, "console"), *blocks(page, "bash")]:
            for line in block.replace("\\\n", " ").splitlines():
                line = line.strip().removeprefix("$ ")
                if line.startswith("pyadx "):
                    yield pytest.param(line, id=f"{page.name}: {line[:60]}")


@pytest.mark.parametrize("line", [*command_lines()])
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
