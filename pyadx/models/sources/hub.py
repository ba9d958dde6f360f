"""Networks on the Hugging Face Hub: ``hf://owner/name``, perhaps with a file and a revision."""

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
    """A file of the Hub in this machine's cache, and the commit that it is of."""

    path: Path
    revision: str


@lru_cache(maxsize=8)  # one commit for the time of the process, and no question for every scan
def hub_file(name: str) -> HubFile:
    """Return the file of a network on the Hub, downloaded unless it is in the cache.

    Parameters
    ----------
    name : str
        ``hf://owner/name``, ``hf://owner/name@revision`` or ``hf://owner/name/net.pt2@revision``.

    Raises
    ------
    ValueError
        If the name is none, huggingface_hub is not installed, there is no such network or no way to it, or
        it is not clear which of its files is meant.
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
    except Exception as error:  # of the network, of the Hub, of the cache
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
