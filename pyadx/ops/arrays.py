"""Arrays and tensors as users hand them over, brought into plain ones. Nothing else converts them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def plain_tensor(name: str, values: Any) -> Tensor:
    """Return an array or tensor as a plain, dense tensor without a graph.

    Parameters
    ----------
    name : str
        What messages call it.
    values : Tensor or numpy.ndarray
        A tensor of any subclass, such as MONAI's ``MetaTensor``, whose memory is shared; or an array of
        booleans or real numbers in any byte order and memory layout, which is copied.

    Returns
    -------
    Tensor
        On its own device, of the nearest dtype that torch has.

    Raises
    ------
    TypeError
        If it is neither a tensor nor an array, is sparse, or holds no real numbers.
    """
    if not isinstance(values, Tensor):  # asked first: torch.compile does not know NumPy's types
        if isinstance(values, np.ndarray | np.generic):
            return torch.from_numpy(_native(name, values))
        raise TypeError(f"{name} must be a tensor or a NumPy array, got {_described(values)}")
    if values.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got {values.layout}; use .to_dense()")
    if values.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {values.dtype}")
    return (values if type(values) is Tensor else values.as_subclass(Tensor)).detach()


def plain_array(name: str, values: Any) -> np.ndarray:
    """Return an array, tensor or nested sequence as an array in the processor's byte order.

    Parameters
    ----------
    name : str
        What messages call it.
    values : array, Tensor or sequence
        Of booleans or real numbers. bfloat16, which NumPy lacks, becomes float32.

    Raises
    ------
    TypeError
        If it holds no real numbers.
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
        raise TypeError(f"{name} is a masked array; say what masked voxels hold with .filled(...)")
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
