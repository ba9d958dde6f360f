"""How references are named: by a word, a number, a file or an array."""

import hashlib
import math
import re
from pathlib import PurePath
from typing import Any

import numpy as np

from pyadx import ops
from pyadx.ops.arrays import plain_array
from pyadx.ops.numbers import real_number

# A number, one number per channel, a volume to copy from, or a word.
Reference = ops.Fill | str

LOCAL_MM = 8.0  # standard deviation of the Gaussian that "local" averages over

VOLUME_WORDS = {
    "zero": "0, the background of a masked scan (the paper)",
    "local": "the scan's mean in a Gaussian neighbourhood, normalised inside the brain: of "
    f"{LOCAL_MM:g} mm, or of 12 mm as local:12",
    "mean": "the scan's mean inside the brain",
    "controls": "the mean image of the network's healthy training subjects, matched in intensity; "
    "controls:0.5 is half way from the scan to it",
    "scan:FILE": "another scan in the same space, matched in intensity",
}
REGION_WORDS = {
    "region-mean": "each region's own mean; region-mean:controls is its mean in another reference",
    "harmonic": "each region from its border inwards (Laplace's equation), so that its outline disappears",
}
_FILE = "scan:"
_FOREIGN = {  # words of other libraries, and ours for them
    "blur": "local", "gaussian": "local", "gaussian_blur": "local", "mean_patch": "region-mean",
    "mean_img": "mean",
    "zeros": "zero", "black": "zero",
}  # fmt: skip


def parse_reference(text: str, *, regions: bool = True) -> float | str:
    """Read a reference from text: a number or one of the words.

    Parameters
    ----------
    text : str
        What the user wrote.
    regions : bool
        Whether words whose values depend on the region are allowed.

    Returns
    -------
    float or str
        The number, or the word in its plain form.

    Raises
    ------
    ValueError
        If the text is neither a number nor a known word.
    """
    number = _number(text)
    return check_word(text, regions=regions) if number is None else number


def check_word(text: str, *, regions: bool = True) -> str | float:
    """Return a word in its plain form, such as ``local`` for ``local:8``; ``zero`` gives the number 0.

    Parameters
    ----------
    text : str
        What the user wrote.
    regions : bool
        Whether words whose values depend on the region are allowed.

    Raises
    ------
    ValueError
        If there is no such reference. The message lists all of them. For a word of another library it gives
        pyadx's name.
    """
    word, _, rest = text.strip().partition(":")
    known = [*VOLUME_WORDS, *(REGION_WORDS if regions else ())]
    problem = f"there is no reference {text!r}"
    if text == "zero":
        return 0.0
    if text in known and text != "scan:FILE":
        return text
    if word == "local" and (sigma := _number(rest)) is not None and 0 < sigma <= 1000:
        return "local" if sigma == LOCAL_MM else f"local:{sigma:g}"
    if word == "controls" and (share := _number(rest)) is not None and 0 < share <= 1:
        return "controls" if share == 1 else f"controls:{share:g}"
    if word == "scan" and rest:
        return text
    if regions and word == "region-mean" and rest:
        source = check_word(rest, regions=False)
        return text if isinstance(source, float) else f"region-mean:{source}"
    if word in _FOREIGN:
        problem += f"; it is called {_FOREIGN[word]!r} here"
    elif not regions and word in REGION_WORDS:
        problem = f"{text!r} depends on the region, and this method has no regions"
    raise ValueError(f"{problem}; references: a number, {', '.join(known)}")


def plain_reference(reference: Any, *, regions: bool = True) -> Any:
    """Return a reference as explainers store it: words are checked, numbers become ``float``.

    Parameters
    ----------
    reference : number, sequence, array, Tensor or str
        What the constructor of an explainer was given.
    regions : bool
        Whether words whose values depend on the region are allowed.

    Raises
    ------
    TypeError
        If the reference is of another type.
    ValueError
        If it is an unknown word.
    """
    if isinstance(reference, str):
        return parse_reference(reference, regions=regions)
    if reference is None or isinstance(reference, dict | set | bytes):
        raise TypeError(f"a reference is a number, a word or an array, got {type(reference).__name__}")
    number = None if isinstance(reference, int | float) else real_number(reference)
    return reference if number is None else number


def write_reference(reference: Any) -> str:
    """Return the text of a reference. Files lose their folder, arrays are written as a hash."""
    if isinstance(reference, str):
        head, mark, path = reference.partition(_FILE)
        return f"{head}{mark}{PurePath(path).name}" if mark else reference
    if np.ndim(reference) == 0:
        return repr(float(reference)).removesuffix(".0")
    data = np.ascontiguousarray(plain_array("fill", reference), np.float64)
    return f"array-{hashlib.sha256(str(data.shape).encode() + data.tobytes()).hexdigest()[:8]}"


def file_of(reference: Any) -> str | None:
    """Return the path of the file that a reference names, or None."""
    if isinstance(reference, str) and _FILE in reference:
        return reference.partition(_FILE)[2]
    return None


def needs_network(reference: Any) -> bool:
    """Whether a reference uses the network's own mean image of controls."""
    return isinstance(reference, str) and re.search(r"(^|:)controls(:[^:]*)?$", reference) is not None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
