"""Loads the compiled operators; checks that all of them share."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyadx.ops.arrays import plain_tensor

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_LIBRARY = Path(__file__).parents[1] / "_C.so"


def _load_library() -> None:
    try:
        torch.ops.load_library(str(_LIBRARY))
    except OSError as error:
        raise ImportError(_advice(_LIBRARY, error)) from error


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


_load_library()


def describe(tensor: object) -> str:
    """Say what a tensor is, for error messages."""
    if isinstance(tensor, Tensor):
        return f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    return f"{type(tensor).__name__}"


def check_floating(name: str, tensor: object, shape: str) -> None:
    """Check that ``tensor`` is a floating-point tensor with the axes written in ``shape``."""
    axes = shape.strip("[]").split(",")
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor {shape}, got {describe(tensor)}")
    if tensor.dtype not in _FLOATING:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {describe(tensor)}")
    if tensor.dim() != len(axes):
        raise ValueError(f"{name} must have shape {shape}, got {describe(tensor)}")


def integer_rows(name: str, rows: object, columns: int, device: torch.device) -> Tensor:
    """Bring boxes or intervals into int64 ``[B, columns]`` on ``device``."""
    tensor = plain_tensor(name, rows if isinstance(rows, Tensor) else np.asarray(rows))
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {describe(tensor)}")
    if tensor.dim() != 2 or tensor.shape[1] != columns:
        raise ValueError(f"{name} must have shape [B, {columns}], got {describe(tensor)}")
    return tensor.to(device=device, dtype=torch.int64)
