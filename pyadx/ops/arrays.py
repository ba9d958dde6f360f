"""Conversion of the arrays and tensors that users pass to plain ones; nothing else converts them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def plain_tensor(name: str, values: Any) -> Tensor:
    """Convert an array or tensor to a plain, dense tensor that is detached from any autograd graph.

    Parameters
    ----------
    name : str
        Name of the argument in error messages.
    values : Tensor or numpy.ndarray
        A tensor of any subclass, such as MONAI's ``MetaTensor``; or an array of booleans or real numbers in
        any byte order and memory layout.

    Returns
    -------
    Tensor
        A tensor stays on its device and shares its memory with the result. An array is copied to the CPU.
        The dtype is kept; only long doubles become float64.

    Raises
    ------
    TypeError
        If ``values`` is neither a tensor nor an array, is sparse, is a masked array, or does not hold
        booleans or real numbers.
    """
    if not isinstance(values, Tensor):  # checked first: torch.compile cannot trace NumPy's types
        if isinstance(values, np.ndarray | np.generic):
            return torch.from_numpy(_native(name, values))
        raise TypeError(f"{name} must be a tensor or a NumPy array, got {_described(values)}")
    if values.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got {values.layout}; use .to_dense()")
    if values.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {values.dtype}")
    return (values if type(values) is Tensor else values.as_subclass(Tensor)).detach()


def plain_array(name: str, values: Any) -> np.ndarray:
    """Convert an array, tensor or nested sequence to a plain array in the processor's byte order.

    Parameters
    ----------
    name : str
        Name of the argument in error messages.
    values : array, Tensor or sequence
        Booleans or real numbers.

    Returns
    -------
    ndarray
        Shares memory with ``values`` where nothing has to be converted. bfloat16, which NumPy lacks,
        becomes float32.

    Raises
    ------
    TypeError
        If ``values`` is a masked array or a sparse tensor, or does not hold booleans or real numbers.
    """
    if isinstance(values, Tensor):
        tensor = plain_tensor(name, values).cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    array = np.asanyarray(values)
    if array.dtype.isnative and type(array) is np.ndarray and array.dtype.kind in "biuf":
        return array
    return _native(name, array)


def _native(name: str, values: Any) -> np.ndarray:
    """Return a contiguous copy in the processor's byte order, of a dtype that torch has."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; give its masked voxels a value with .filled(...)")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got {values.dtype}")
    dtype = values.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize > 8:  # long double
        dtype = np.dtype(np.float64)
    return np.array(values, dtype, order="C", copy=True, subok=False)


def _described(values: object) -> str:
    kind = type(values).__name__
    if isinstance(values, list | tuple):
        return f"a {kind}; use numpy.asarray(...)"
    return f"{kind}; use numpy.asarray(...)" if hasattr(values, "__array__") else kind
