"""Checks links of all Markdown files without a network: ``python docs/scripts/links.py`` lists broken ones.

A relative link must lead to a file of the repository, and its anchor to a heading there. Links to other
sites are not followed.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_DRAWN = ("docs/pictures/",)  # by `make docs`
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|<img[^>]*\ssrc=\"([^\"]+)\""
)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_IDENTIFIER = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")


def pages(root=ROOT):
    """Return the Markdown files that git knows or would take, or all of them without git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
            cwd=root, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        listed = [
            path.relative_to(root).as_posix() for path in root.rglob("*.md") if ".venv" not in path.parts
        ]
    return [root / name for name in sorted(listed) if name and (root / name).is_file()]


def prose(text):
    """Return a page without its code."""
    return _CODE.sub("``", _FENCE.sub("", text))


def anchors(text):
    """Return the anchors of a page's headings, as GitHub and the site both make them."""
    found = set(_IDENTIFIER.findall(text))
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", words).strip())
        again = 1
        while slug in found:
            slug, again = f"{slug.removesuffix(f'-{again - 1}')}-{again}", again + 1
        found.add(slug)
    return found


def broken(page, root=ROOT):
    """Yield what is wrong with each broken link of a page."""
    text = page.read_text(encoding="utf-8")
    for one, other in _LINK.findall(prose(text)):
        link = one or other
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if any(target.is_relative_to(root / drawn) for drawn in _DRAWN):
            continue
        if not target.exists():
            yield f"{page.relative_to(root)}: {link}: no such file"
        elif (
            anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8"))
        ):
            yield f"{page.relative_to(root)}: {link}: no such heading"


def main():
    """List broken links; return the exit code."""
    found = [problem for page in pages() for problem in broken(page)]
    print("\n".join(found) or f"{len(pages())} pages: links lead somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
