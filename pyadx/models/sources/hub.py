"""Networks on the Hugging Face Hub: ``hf://owner/name``, optionally with a file and a revision."""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pyadx.extras import needed_for

_NAME = re.compile(
    r"hf://(?P<repo>[\w.\-]+/[\w.\-]+)(?:/(?P<file>[\w.\-/]+?))?(?:@(?P<revision>[\w.\-/]+))?"
)
_SUFFIXES = (".safetensors", ".pt2", ".onnx")


class HubFile(NamedTuple):
    """A file from the Hub in this machine's cache, and its commit."""

    path: Path
    revision: str


@lru_cache(maxsize=8)  # a process uses one commit, and does not contact the Hub for every scan
def hub_file(name: str) -> HubFile:
    """Return the file of a network on the Hub; download it if it is not in the cache.

    Parameters
    ----------
    name : str
        ``hf://owner/name``, ``hf://owner/name@revision`` or ``hf://owner/name/net.pt2@revision``.

    Returns
    -------
    HubFile
        Path in the cache, and commit.

    Raises
    ------
    ValueError
        If the name has another form, huggingface_hub is not installed, the network does not exist or cannot
        be fetched, or it has not exactly one file that could be meant.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name}: expected hf://owner/name[/file][@revision]")
    with needed_for(f"{name}: reading from the Hub"):
        from huggingface_hub import HfApi, hf_hub_download
    repo, file, revision = match["repo"], match["file"], match["revision"]
    try:
        if file is None:
            found = HfApi().model_info(repo, revision=revision)
            file, revision = _only(name, [s.rfilename for s in found.siblings or ()]), found.sha
        path = Path(hf_hub_download(repo, file, revision=revision))
    except ValueError:
        raise
    except Exception as error:  # errors of the connection, the Hub and the cache have many types
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{name}: cannot be fetched ({words})") from None
    commit = next(
        (b for a, b in zip(path.parts, path.parts[1:], strict=False) if a == "snapshots"), revision
    )
    return HubFile(path, commit or "")


def _only(name: str, files: list[str]) -> str:
    fitting = [file for file in files if file.endswith(_SUFFIXES)]
    if len(fitting) != 1:
        there = ", ".join(fitting or files[:8]) or "nothing"
        raise ValueError(
            f"{name}: holds {len(fitting)} files that could be the network; name one, such as "
            f"hf://owner/name/net.pt2 (it holds {there})"
        )
    return fitting[0]
