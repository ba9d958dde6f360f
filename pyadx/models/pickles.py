"""Files of ``torch.save``, of which nothing is executed."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def read_plain(source: Path, refused: Callable[[str | None], str]) -> Any:
    """Read a file of tensors and plain data.

    Parameters
    ----------
    source : Path
        The file.
    refused : callable
        Given the class of an object that could run code, or ``None`` for what is no such file, returns what
        is told of it.

    Raises
    ------
    ValueError
        If it holds anything else, or is damaged. One line, beginning with the file.
    """
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own words advise to read it without this safety.
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(f"{source}: {refused(found[1] if found else None)}") from None
    except Exception as error:  # torch.load raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{source}: cannot be read as plain weights ({reason})") from None
