"""Notebooks of the tutorials, made from their pages: ``python docs/scripts/notebooks.py FOLDER``.

Prose becomes Markdown cells, Python becomes code cells. What the page prints stands beneath a cell until it
is run. Commands become ``!`` cells if all that they read was made above them or is a reader's scan, and if
they are done in minutes; others are shown as text. The site offers the notebooks; nothing is kept by hand.
"""

import doctest
import json
import re
import shlex
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
TUTORIALS = ("get-started", "your-own-network", "your-own-cohort", "group")
_BROUGHT = {"scan.nii.gz"}  # by every reader
_WRITTEN = ("out", "figure", "table", "hierarchy")  # options that name files to write
_LONG = ("explain-cohort", "train", "crossval", "evaluate", "reproduce", "group")  # "run all" is no trap
_SHELL = {">", ">>", "<", "|", "&", "&&", ";"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_CODE_OR_LINK = re.compile(r"`[^`\n]*`|(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_NOTE = (
    "*A page of pyadx's documentation as a notebook. Start Jupyter in pyadx's environment. `scan.nii.gz` "
    "and other files are yours: put them beside this one. Outputs are the page's until you run a cell.*"
)


def notebook(page):
    """Return a page of Markdown as a notebook, a dictionary of nbformat 4.5."""
    cells, prose, made, end = [], [], set(_BROUGHT), 0
    for fence in _FENCE.finditer(page):
        prose.append(_readable(page[end : fence.start()]))
        end = fence.end()
        code = _code_cells(fence[1], fence[2], made)
        if not code:
            prose.append(fence[0])
            continue
        cells += [*_markdown(prose), *code]
        prose = []
    cells += _markdown([*prose, _readable(page[end:])])
    cells.insert(1, _cell("markdown", _NOTE))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def notebooks():
    """Return the text of every tutorial's notebook by the name of its file."""
    found = {}
    for name in TUTORIALS:
        made = notebook((DOCS / f"{name}.md").read_text(encoding="utf-8"))
        found[f"{name}.ipynb"] = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    return found


def _cell(kind, source, output=""):
    cell = {"cell_type": kind, "metadata": {}, "source": source}
    if kind == "code":
        stream = {"output_type": "stream", "name": "stdout", "text": output}
        cell |= {"execution_count": None, "outputs": [stream] if output else []}
    return cell


def _markdown(pieces):
    text = "".join(pieces).strip()
    if not text:
        return []
    heading, _, rest = text.partition("\n")
    if heading.startswith("# ") and rest.strip():  # the title is a cell of its own: a note follows it
        return [_cell("markdown", heading), _cell("markdown", rest.strip())]
    return [_cell("markdown", text)]


def _code_cells(language, block, made):
    if language == "python":
        return _python(block)
    if language in ("console", "bash"):
        return _commands(language, block, made)
    return []


def _python(block):
    """Return a block as one cell, or a session as cells that end where it prints."""
    if ">>>" not in block:
        return [_cell("code", block.rstrip("\n"))]
    cells, source = [], ""
    for example in doctest.DocTestParser().get_examples(block):
        source += example.source
        if example.want:
            cells.append(_cell("code", source.rstrip("\n"), example.want))
            source = ""
    return [*cells, *([_cell("code", source.rstrip("\n"))] if source else [])]


def _commands(language, block, made):
    """Return a block of commands as a cell, or nothing if one of them is to be shown only."""
    lines = block.replace("\\\n", " ").splitlines()
    prompt = "$ " if language == "console" else ""
    commands = [line.removeprefix(prompt) for line in lines if line.startswith(prompt) and line.strip()]
    known = set(made)
    for command in commands:
        read, written = _files(command)
        if not read <= known:
            return []
        known |= written
    made |= known
    printed = [line for line in lines if not line.startswith(prompt)] if prompt else []
    output = "".join(f"{line}\n" for line in printed)
    return [_cell("code", "\n".join(f"!{command}" for command in commands), output)]


def _files(command):
    """Return what a command reads and writes, as pyadx declares it; of others what nobody can have."""
    import typer

    from pyadx.cli import app

    known = typer.main.get_command(app).commands
    program, name, *arguments = [*shlex.split(command, comments=True), ""]
    arguments = [word for word in arguments if word]
    if program != "pyadx" or name not in known or name in _LONG or set(arguments) & _SHELL:
        return {command}, set()
    read, written = set(), set()
    context = known[name].make_context(name, arguments)
    for option, value in context.params.items():
        values = value if isinstance(value, list | tuple) else [value]
        (written if option in _WRITTEN else read).update(
            str(one) for one in values if isinstance(one, Path)
        )
    model = context.params.get("model") or ""
    if re.search(r"[./]", model):  # a file or a repository, and no name such as demo:vggnet
        read.add(model)
    return read, written


def _readable(text):
    """Return prose that stands alone: pictures become their captions, links inside the docs their words."""

    def turned(found):
        picture, words, target = found.groups()
        if target is None or re.match(r"[a-z]+:", target):
            return found[0]
        return f"*{words}*" if picture else words

    return _CODE_OR_LINK.sub(turned, _COMMENT.sub("", text))


def main(folder):
    """Write all notebooks into a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in notebooks().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["build/notebooks"]))
