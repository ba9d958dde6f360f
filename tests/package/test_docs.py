"""README, documentation site and contributors' files: links, length, completeness."""

import re
import shutil
import subprocess

import pytest
from doc_scripts import ROOT, script

from pyadx.explainers import methods

links = script("links")


def test_links_lead_to_files_and_headings():
    assert [problem for page in links.pages() for problem in links.broken(page)] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gone](gone.md)", "no such file"),
        ("[a [b] c](gone.md)", "no such file"),
        ("![a picture](gone.png)", "no such file"),
        ('<img src="gone.png" width="3">', "no such file"),
        ("[here](#nowhere)", "no such heading"),
        ("# A title, of `two`\n[here](#a-title-of-three)", "no such heading"),
        ("# A title, of `two`\n[here](#a-title-of-two)", ""),
        ("# Twice\n# Twice\n[here](#twice-1)", ""),
        ("`[code](gone.md)`\n```\n[code](gone.md)\n```\n[else](https://example.org/gone)", ""),
    ],
)
def test_a_broken_link_is_told(text, told, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    problems = list(links.broken(page, tmp_path))
    assert [problem.rpartition(": ")[2] for problem in problems] == ([told] if told else [])


def test_the_readme_takes_five_minutes():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 160
    assert sum(len(line.split()) for line in lines) < 1500


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    text = (ROOT / "mkdocs.yml").read_text()
    entries = re.findall(r": ([\w/-]+\.md)$", text, re.MULTILINE)
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(entries) == sorted(pages)


def test_the_tests_that_the_readme_names_are_those_that_are_run_for_every_change():
    assert re.search(r"^\$ make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert re.search(r"^make .*\btest\b", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_the_reference_of_the_command_line_has_every_command_and_option():
    import typer

    from pyadx.cli import app

    text = script("site_hooks").command_reference()
    for name, command in typer.main.get_command(app).commands.items():
        assert f"## pyadx {name}\n" in text
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert f"`{parameter.opts[0]}`" in text


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_has_a_page_with_its_picture_and_options(name):
    (page,) = [
        page
        for page in (ROOT / "docs/methods").glob("*.md")
        if f"<!-- options: {name} -->" in page.read_text()
    ]
    text = page.read_text()
    assert re.search(r"!\[[^\]]+\]\(\.\./figures/[\w-]+\.png\)", text)
    assert ">>> import torch, pyadx" in text
    assert re.search(r"^## When (it misleads|they mislead)$", text, re.MULTILINE)
    table = script("site_hooks").option_table(name)
    assert all(f"| `{option}` |" in table for option in methods()[name].options)


def test_words_are_spelled_right():
    program = shutil.which("codespell")
    if program is None:
        pytest.skip("codespell is installed by make lint")
    files = [str(page) for page in links.pages()]
    found = subprocess.run([program, *files], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    "path", ["CITATION.cff", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob(".github/**/*.yml"))]
)
def test_files_for_tools_can_be_read(path):
    yaml = pytest.importorskip("yaml")
    found = yaml.safe_load((ROOT / path).read_text())
    if "ISSUE_TEMPLATE" in path and "config" not in path:
        assert {"name", "description", "body"} <= set(found)
        assert all("label" in field["attributes"] for field in found["body"] if field["type"] != "markdown")
    if path == "CITATION.cff":
        assert {"cff-version", "message", "title", "authors"} <= set(found)
