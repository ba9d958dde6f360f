"""Read files of ``torch.save`` without executing anything in them."""

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
        Makes the error message for a file that is not read. Its argument is the class of an object in the
        file that could run code, or ``None`` if the file is not one of ``torch.save``.

    Raises
    ------
    ValueError
        If the file holds anything but tensors and plain data, or is damaged. The message is one line that
        begins with the file.
    """
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own message is not passed on: it advises to read the file without this protection.
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(f"{source}: {refused(found[1] if found else None)}") from None
    except Exception as error:  # torch.load raises many kinds of errors for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{source}: cannot be read as plain weights ({reason})") from None
