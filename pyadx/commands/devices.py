"""The device to run on, and what software runs there."""

import platform
import re
from typing import Any

import torch

import pyadx


def pick_device(name: str) -> torch.device:
    """Return the device that a user named.

    Parameters
    ----------
    name : str
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"--device {name}: torch {torch.__version__} sees no CUDA GPU here; use cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"--device {name}: there are only {torch.cuda.device_count()} GPUs")
    elif device.type != "cpu":
        raise ValueError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}")
    return device


def software(device: torch.device) -> dict[str, Any]:
    """Versions and device, for sidecars."""
    facts: dict[str, Any] = {
        "pyadx": pyadx.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    else:
        facts["threads"] = torch.get_num_threads()
    return facts


def parse_bytes(text: str) -> int:
    """Return a number of bytes given as ``500M``, ``8G`` or plain digits (powers of 1024).

    Raises
    ------
    ValueError
        If it is neither.
    """
    units = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"--max-memory must be a size such as 500M or 8G, got {text!r}")
    return int(float(found[1]) * 1024 ** units[found[2].upper()])
