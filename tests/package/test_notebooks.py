"""Tutorials are notebooks as well, made from their pages and never kept by hand."""

import copy
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from doc_scripts import ROOT, script

made = script("notebooks")
NOTEBOOKS = {name: json.loads(text) for name, text in made.notebooks().items()}


def page_of(name):
    return (ROOT / "docs" / name).with_suffix(".md").read_text()


def sources(notebook, kind):
    return [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == kind]


def python_of(page):
    """The lines of Python of a page's blocks; of sessions those behind prompts."""
    lines = []
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        own = block.splitlines()
        if ">>>" in block:
            own = [line[4:] for line in own if re.match(r"(>>>|\.\.\.)( |$)", line)]
        lines += own
    return lines


def test_every_tutorial_has_one():
    assert sorted(NOTEBOOKS) == [
        "get-started.ipynb",
        "group.ipynb",
        "your-own-cohort.ipynb",
        "your-own-network.ipynb",
    ]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_valid(name):
    nbformat = pytest.importorskip("nbformat")
    notebook = copy.deepcopy(NOTEBOOKS[name])
    nbformat.validate(nbformat.from_dict(notebook))
    notebook["cells"][0]["outputs"] = []  # which no Markdown has
    with pytest.raises(nbformat.ValidationError):
        nbformat.validate(nbformat.from_dict(notebook))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_has_what_every_reader_of_notebooks_needs(name):
    notebook = NOTEBOOKS[name]
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        keys = {"id", "cell_type", "metadata", "source"}
        assert set(cell) == (keys | {"outputs", "execution_count"} if cell["cell_type"] == "code" else keys)
        assert cell["source"].strip()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_python_is_that_of_the_page(name):
    cells = [source for source in sources(NOTEBOOKS[name], "code") if not source.startswith("!")]
    code = "\n".join(cells)
    assert code.splitlines() == python_of(page_of(name))
    compile(code, name, "exec")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nothing_of_the_page_is_lost(name):
    page, notebook = page_of(name), NOTEBOOKS[name]
    prose = "\n".join(sources(notebook, "markdown"))
    headings = re.findall(
        r"^#+ .*$", re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    assert headings
    assert all(heading in prose for heading in headings)
    everything = prose + "\n".join(sources(notebook, "code"))
    for line in re.findall(r"^\$ (.*)$", page, re.MULTILINE):
        assert line in everything
    words = set(re.findall(r"\w{4,}", re.sub(r"\]\([^)]*\)|<!--.*?-->", "", page)))
    outputs = "".join(out["text"] for cell in notebook["cells"] for out in cell.get("outputs", ()))
    assert words <= set(re.findall(r"\w{4,}", everything + outputs + " python console bash"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_link_leads_to_where_a_notebook_is_not(name):
    for source in sources(NOTEBOOKS[name], "markdown"):
        assert re.findall(r"\]\((?!https?://)", re.sub(r"`[^`\n]*`", "", source)) == []


def test_commands_of_a_first_map_can_be_run():
    commands = [
        source for source in sources(NOTEBOOKS["get-started.ipynb"], "code") if source.startswith("!")
    ]
    assert commands[0].startswith("!pyadx explain scan.nii.gz --model demo:vggnet")
    assert any(source.startswith("!pyadx methods\n!pyadx methods occlusion\n") for source in commands)
    assert not any("pip install" in source or "make demo" in source for source in commands)


def cells(page):
    """Kind, source and printed text of the cells behind title and note."""
    found = made.notebook("# Title\n\nIntroduction.\n\n" + page)["cells"]
    assert found[0]["source"] == "# Title"
    assert "put them beside this one" in found[1]["source"]
    return [
        (c["cell_type"], c["source"], "".join(o["text"] for o in c.get("outputs", ()))) for c in found[2:]
    ]


EXPLAIN = "pyadx explain scan.nii.gz --model demo:vggnet -o heat.nii.gz"


@pytest.mark.parametrize(
    ("block", "runs"),
    [
        (f"$ {EXPLAIN}\n", True),
        (f"$ {EXPLAIN}\n$ pyadx report scan.nii.gz heat.nii.gz -o r.html\n", True),
        ("$ pyadx report scan.nii.gz heat.nii.gz -o r.html\n", False),  # nobody made this map
        (f"$ {EXPLAIN} --regions aal.nii.gz\n", False),
        (f"$ {EXPLAIN.replace('scan', 't1')}\n", False),
        (f"$ {EXPLAIN.replace('demo:vggnet', 'net.py:network')}\n", False),
        (f"$ {EXPLAIN.replace('demo:vggnet', 'hf://owner/name')}\n", False),
        (f"$ {EXPLAIN}\n$ cat heat.json\n", False),
        ("$ pip install pyadx\n", False),
        ("$ pyadx --version\n", False),
        ("$ pyadx phantom -o phantom\n", True),
        ("$ pyadx phantom -o phantom\n$ pyadx train phantom -o run --model vggnet\n", False),  # hours
        ("$ pyadx methods > list.txt\n", False),
    ],
)
def test_a_command_is_a_cell_where_a_reader_has_all_that_it_reads(block, runs):
    *_, last = cells(f"```console\n{block}```\n")
    if runs:
        assert last == ("code", block.replace("$ ", "!").rstrip("\n"), "")
    else:
        assert last[0] == "markdown"
        assert f"```console\n{block}```" in last[1]


def test_what_one_cell_made_a_later_one_may_read_and_what_was_only_shown_not():
    report = "```console\n$ pyadx report scan.nii.gz heat.nii.gz -o r.html\n```\n"
    assert cells(f"```console\n$ {EXPLAIN}\n```\n\n{report}")[-1][0] == "code"
    assert cells(f"```console\n$ {EXPLAIN} --mask m.nii.gz\n```\n\n{report}")[-1][0] == "markdown"


def test_what_the_page_prints_stands_beneath_the_cell():
    *_, last = cells(f"```console\n$ {EXPLAIN} \\\n  --quiet\nprediction: AD 0.6\nmore\n```\n")
    assert last == ("code", f"!{EXPLAIN}    --quiet", "prediction: AD 0.6\nmore\n")
    session = "```python\n>>> x = 1\n>>> for i in range(2):\n...     x += i\n>>> x\n2\n>>> y = 3\n\n```\n"
    assert cells(session)[-2:] == [
        ("code", "x = 1\nfor i in range(2):\n    x += i\nx", "2\n"), ("code", "y = 3", ""),
    ]  # fmt: skip


def test_prose_stands_alone():
    links = "See [a *b*](c.md#d), [`code`](e.md) and [far](https://example.org). `f[0](g)`\n"
    text = cells(f"{links}![A map](h.png)\n<!-- x -->\n")[-1][1]
    assert text.endswith("See a *b*, `code` and [far](https://example.org). `f[0](g)`\n*A map*")


def test_the_site_links_a_tutorial_to_its_notebook():
    hooks = script("site_hooks")
    asked = []

    def file_of(path):
        asked.append(path)
        return SimpleNamespace(url_relative_to=lambda page: f"../{path}")

    files = SimpleNamespace(src_uris={}, get_file_from_path=file_of)

    def page(uri):
        return hooks.on_page_markdown(
            "# T\n\nText\n", SimpleNamespace(file=SimpleNamespace(src_uri=uri)), {}, files
        )

    link = '<a href="../notebooks/group.ipynb" download>This page as a notebook</a>'
    assert page("group.md") == f"# T\n\n<p>{link}</p>\n\nText\n"
    assert page("ucm.md") == "# T\n\nText\n"
    assert asked == ["notebooks/group.ipynb"]


def test_a_notebook_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    page = "# T\n\nText\n\n```console\n$ pyadx methods cam\n```\n\n"
    page += "```python\n>>> x = 20 + 1\n>>> 2 * x\n41\n\n```\n"
    notebook = nbformat.from_dict(made.notebook(page))
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    methods, session = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert "receptive_field" in "".join(out.text for out in methods.outputs)
    assert session.outputs[0]["data"]["text/plain"] == "42"
