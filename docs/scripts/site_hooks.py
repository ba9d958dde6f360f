"""Hooks of the site: the command line's reference, notebooks, and pages that live outside ``docs``.

On GitHub a page links to ``../benchmarks/results/x.md`` and ``../SECURITY.md``. The site takes these files
in, under ``repository/``, and turns the links to them.
"""

import os
import posixpath
import re
from pathlib import Path

from notebooks import TUTORIALS, notebooks  # beside this file, where mkdocs looks, too

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_TAKEN_IN = "repository"
_NOTEBOOKS = "notebooks"
_COMMANDS = "<!-- commands -->"
_OPTIONS = re.compile(r"<!-- options: (\w+) -->")
_OUTSIDE = (
    "benchmarks/results/*", "benchmarks/NOTES.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff", "LICENSE",
    ".github/C*.md", "tests/notebooks/heatmaps.ipynb",
)  # fmt: skip


def on_files(files, config):
    """Take the files in that pages link to, and the tutorials as notebooks."""
    from mkdocs.structure.files import File

    for pattern in _OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix().removeprefix(".")
            files.append(File.generated(config, f"{_TAKEN_IN}/{name}", abs_src_path=str(path)))
    for name, text in notebooks().items():
        files.append(File.generated(config, f"{_NOTEBOOKS}/{name}", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links that leave ``docs``, fill in the command line's reference, link a tutorial's notebook."""
    if _COMMANDS in markdown:
        markdown = markdown.replace(_COMMANDS, command_reference())
    name = page.file.src_uri.removesuffix(".md")
    if name in TUTORIALS:
        file = files.get_file_from_path(f"{_NOTEBOOKS}/{name}.ipynb")
        markdown = _with_notebook(markdown, file.url_relative_to(page.file))
    return _LINK.sub(
        lambda found: found[1] + _turned(found[2], page.file.src_uri, files) + found[3], markdown
    )


def _with_notebook(markdown, url):
    """Put a link beneath the title; in HTML, since Markdown cannot say that it is a download."""
    title, _, rest = markdown.partition("\n")
    return f'{title}\n\n<p><a href="{url}" download>This page as a notebook</a></p>\n{rest}'


def _turned(link, source, files):
    if ":" in link or link.startswith("/"):
        return link
    inside = source.startswith(f"{_TAKEN_IN}/")
    origin = posixpath.dirname(source.removeprefix(f"{_TAKEN_IN}/") if inside else f"docs/{source}")
    target = posixpath.normpath(posixpath.join(origin, link)).removeprefix(".")
    if target == "README.md":
        target = "docs/index.md"
    wanted = target.removeprefix("docs/") if target.startswith("docs/") else f"{_TAKEN_IN}/{target}"
    if wanted not in files.src_uris:
        return link
    return os.path.relpath(wanted, posixpath.dirname(source) or ".").replace(os.sep, "/")


def option_table(name):
    """Return the options of a method as Markdown, from its declaration."""
    from pyadx.explainers import find_method

    method = find_method(name)
    lines = [f"**{name}**", "", "| option | default | meaning | allowed |", "| --- | --- | --- | --- |"]
    for option in method.options.values():
        default = "none" if option.default is None else option.kind.write(option.default)
        help_, allowed = _text(option.help), _text(option.kind.allowed)
        lines.append(f"| `{option.name}` | `{default}` | {help_} | {allowed} |")
    for preset, options in method.presets.items():
        meaning = ",".join(f"{key}={method.options[key].kind.write(v)}" for key, v in options.items())
        lines += ["", f"`{name}:{preset}` stands for `{meaning}`."]
    return "\n".join(lines)


def command_reference():
    """Return the help of every command as Markdown, from the declarations that the commands run by."""
    import typer

    from pyadx.cli import app

    group = typer.main.get_command(app)
    context = group.make_context("pyadx", ["info"], resilient_parsing=True)
    return "\n".join(_command(name, group.commands[name], context) for name in sorted(group.commands))


def _command(name, command, context):
    own = command.make_context(name, [], parent=context, resilient_parsing=True)
    usage = " ".join([f"pyadx {name}", *command.collect_usage_pieces(own)])
    rows = [_row(parameter, own) for parameter in command.get_params(own) if parameter.name != "help"]
    table = ["| option | meaning | default |", "| --- | --- | --- |", *rows]
    parts = [f"## pyadx {name}", _text(command.help or ""), f"```text\n{usage}\n```", "\n".join(table)]
    return "\n\n".join(parts) + "\n"


def _row(parameter, context):
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return f"| {names} | {_text(getattr(parameter, 'help', '') or '')} | {_default(parameter, context)} |"


def _default(parameter, context):
    if parameter.required:
        return "needed"
    value = parameter.get_default(context)
    if value in (None, False, (), []) or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _text(words):
    return " ".join(words.split()).replace("|", "\\|").replace("<", "&lt;")
