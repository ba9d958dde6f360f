"""Wording for figures and pages from a heatmap's sidecar. Missing or malformed entries are skipped."""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pyadx.data.heatmaps import sidecar_path
from pyadx.report.markup import shortened

_LONGEST_NAME = 24
# An absolute path or file URL inside a longer text, without its last part. The last part is kept.
_PATH = re.compile(r"""(?<![\w./\\~])(?:file:/+|~?/(?!/)|\\\\|[A-Za-z]:[\\/])(?:[^\s"'<>|,;]*[\\/])?""")


def read_facts(heatmap: Path) -> dict[str, Any]:
    """Read the sidecar of a heatmap.

    Other programs write a JSON file of the same name with scanner metadata, which must not reach a page.

    Parameters
    ----------
    heatmap : Path
        Heatmap file.

    Returns
    -------
    dict
        The sidecar; empty if there is none, or if pyadx did not write it.

    Raises
    ------
    ValueError
        If the file exists but cannot be read as JSON.
    """
    note = sidecar_path(heatmap)
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{note}: cannot be read as JSON ({error})") from None
    ours = isinstance(facts, dict) and isinstance(facts.get("method"), str)
    return facts if ours else {}


def mapping(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an entry that should be a mapping, or an empty mapping if it is missing or something else."""
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}


def followed_sign(facts: Mapping[str, Any]) -> bool:
    """Return whether the sidecar says that the map keeps signs (``signed`` or ``rectify="none"``)."""
    parameters = mapping(facts, "parameters")
    return parameters.get("signed") is True or parameters.get("rectify") == "none"


def sign_words(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return the meaning of negative and of positive values.

    Parameters
    ----------
    facts : mapping
        A sidecar. The explained class is ``target.name``. The classes are the list ``classes`` or the keys
        of ``prediction``.

    Returns
    -------
    tuple of str
        Meaning of negative and of positive values, such as "speaks for NC" and "speaks for AD". With two
        classes, what lowers the probability of one raises that of the other, so both are named. This does
        not hold for logits and CAM: there, negative values speak against the explained class.
    """
    target = mapping(facts, "target").get("name")
    if not isinstance(target, str) or not target:
        return "negative", "positive"
    if mapping(facts, "parameters").get("score") == "output":  # a number, such as an age
        return f"lowers {_short(target)}", f"raises {_short(target)}"
    given = facts.get("classes")
    classes = list(given if isinstance(given, list | tuple) else mapping(facts, "prediction"))
    others = [name for name in classes if isinstance(name, str) and name != target]
    # A logit may fall without another one rising. With two classes, probability and log-odds may not.
    scores = mapping(facts, "parameters").get("score") == "logit" or facts.get("method") == "cam"
    two = len(classes) == 2 and len(others) == 1 and not scores
    against = f"speaks for {_short(others[0])}" if two else f"speaks against {_short(target)}"
    return against, f"speaks for {_short(target)}"


def approximation(facts: Mapping[str, Any]) -> str:
    """Return a note such as "approximate: 215 of 729 regions scored"; empty for an exact map.

    The entries may be at the top level of the sidecar or in one of its groups, such as ``occlusion``.
    """
    for place in (facts, *(group for group in facts.values() if isinstance(group, Mapping))):
        said = place.get("approximate")
        if not said:
            continue
        counts = said if isinstance(said, Mapping) else place
        scored = _count(counts, "scored", "regions_scored", "evaluated")
        regions = _count(counts, "regions_that_change", "regions", "of", "total", "evaluations")
        if scored is None or regions is None:
            return "approximate"
        return f"approximate: {scored:,} of {regions:,} regions scored"
    return ""


def shareable(facts: Any) -> Any:
    """Return a copy of a sidecar in which every path is reduced to its last part, for privacy.

    Parameters
    ----------
    facts : mapping, sequence, str or plain value
        A sidecar, or a part of one.

    Returns
    -------
    dict, list, str or plain value
        The copy; tuples become lists.
    """
    if isinstance(facts, Mapping):
        return {_without_folders(str(name)): shareable(value) for name, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [shareable(value) for value in facts]
    return _without_folders(facts) if isinstance(facts, str) else facts


def _without_folders(text: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute() or (text.startswith("~") and len(kind(text).parts) > 1):
            return kind(text).name
    return _PATH.sub("", text)


def _count(facts: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = facts.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _short(name: str) -> str:
    return shortened(name, _LONGEST_NAME)
