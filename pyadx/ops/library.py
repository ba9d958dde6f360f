"""Loads the compiled operators, and holds the argument checks that they share."""

import os
import shlex
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyadx.ops.arrays import plain_tensor

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SOURCES = (".h", ".cpp", ".cu")
_LIBRARY = Path(__file__).parents[1] / "_C.so"


def _load_library() -> None:
    try:
        torch.ops.load_library(str(_LIBRARY))
    except OSError as error:
        raise ImportError(_advice(_LIBRARY, error)) from error
    if newer := newer_source(_LIBRARY):
        warnings.warn(_rebuild_words(newer, _LIBRARY.parents[1]), UserWarning, stacklevel=2)


def _advice(library: Path, error: OSError) -> str:
    checkout = library.parents[1]
    if not library.exists() and (checkout / "pyproject.toml").is_file():
        return (
            f"{checkout} holds pyadx's sources, which have not been built. Build them there (make demo, or "
            "pip install --no-build-isolation --editable .), or start Python in another folder to use the "
            "pyadx that is installed"
        )
    return (
        f"the compiled operators of pyadx could not be loaded from {library}: {error}. Install a wheel, or "
        "build from source with: pip install --no-build-isolation ."
    )


def newer_source(library: Path) -> Path | None:
    """Return a source file of a checkout that is newer than the compiled library, or None.

    An installed wheel has no sources beside it, which one look-up tells.
    """
    checkout = library.parents[1]
    if not (checkout / "pyproject.toml").is_file():  # a `csrc` beside a wheel is another package's
        return None
    built = library.stat().st_mtime
    for folder, _, names in os.walk(checkout / "csrc"):
        for name in names:
            if name.endswith(_SOURCES) and os.stat(os.path.join(folder, name)).st_mtime > built:
                return Path(folder, name)
    return None


def _rebuild_words(newer: Path, checkout: Path) -> str:
    build = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--editable"]
    return (
        f"{newer} was changed after the compiled operators of pyadx were built. Build them again: "
        f"{shlex.join([*build, str(checkout)])}"
    )


_load_library()


def describe(tensor: object) -> str:
    """Return a tensor's dtype and shape, or the type of anything else, for error messages."""
    if isinstance(tensor, Tensor):
        return f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    return f"{type(tensor).__name__}"


def check_floating(name: str, tensor: object, shape: str) -> None:
    """Check the dtype and the number of axes of a floating-point tensor.

    Parameters
    ----------
    name : str
        Name of the argument in error messages.
    tensor : object
        What was passed.
    shape : str
        The expected axes, such as ``[C,D,H,W]``. Only their number is checked.

    Raises
    ------
    TypeError
        If ``tensor`` is not a tensor, or not float16, bfloat16, float32 or float64.
    ValueError
        If it has another number of axes.
    """
    axes = shape.strip("[]").split(",")
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor {shape}, got {describe(tensor)}")
    if tensor.dtype not in _FLOATING:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {describe(tensor)}")
    if tensor.dim() != len(axes):
        raise ValueError(f"{name} must have shape {shape}, got {describe(tensor)}")


def integer_rows(name: str, rows: object, columns: int, device: torch.device) -> Tensor:
    """Convert boxes or intervals to an int64 tensor ``[B, columns]`` on ``device``.

    Raises
    ------
    TypeError
        If ``rows`` does not hold integers.
    ValueError
        If it has another shape.
    """
    tensor = plain_tensor(name, rows if isinstance(rows, Tensor) else np.asarray(rows))
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {describe(tensor)}")
    if tensor.dim() != 2 or tensor.shape[1] != columns:
        raise ValueError(f"{name} must have shape [B, {columns}], got {describe(tensor)}")
    return tensor.to(device=device, dtype=torch.int64)
