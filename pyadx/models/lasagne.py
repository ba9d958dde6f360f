"""Read the checkpoints that the paper's authors publish: Lasagne's arrays in an .npz file."""

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.models.card import Preprocessing
from pyadx.models.registry import build, check_architecture
from pyadx.npz import Headers, npz_headers


@dataclass(frozen=True)
class _Slot:
    """One array of the file: the weights that it becomes, its shape, and how it is converted."""

    name: str  # in the state dict
    shape: tuple[int, ...]  # in the file
    kind: str  # "as it is", "transposed", "convolution", or "inverse deviation" of a batch norm
    eps: float = 0.0


def read_lasagne(
    path: str | os.PathLike[str],
    architecture: str,
    in_shape: Sequence[int] = (110, 110, 110),
    class_names: Sequence[str] = ("NC", "AD"),
    preprocessing: Preprocessing | None = None,
    flip_filters: bool = False,
) -> nn.Module:
    """Build a network from a Lasagne checkpoint.

    Nothing in the file is executed, and shapes are checked before an array is read.

    Parameters
    ----------
    path : path
        ``.npz`` file of arrays in the order of the layers. A convolution has ``[out, in, 3, 3, 3]`` and a
        bias; a dense layer ``[in, out]`` and a bias; a batch norm beta, gamma, mean and
        ``1 / sqrt(var + eps)``. There are 30 arrays for ``vggnet``, 44 for ``resnet-shallow-gap``.
    architecture, in_shape, class_names, preprocessing
        As in `pyadx.models.build`. The file does not contain them, nor the order of the classes.
    flip_filters : bool
        True if the file's layers were true convolutions (Lasagne's ``Conv3DLayer``): their kernels are
        flipped. False for cross-correlations (``Conv3DDNNLayer``, which the published networks use).

    Returns
    -------
    torch.nn.Module
        In evaluation mode, with a card.

    Raises
    ------
    ValueError
        If the file is missing or is not an .npz file, holds pickled objects, or an array is missing, has
        another shape, or does not hold finite floating-point numbers.
    """
    source = Path(path)
    check_architecture(architecture)
    headers = npz_headers(source)
    model = build(architecture, in_shape, class_names, preprocessing, seed=0)
    slots = _slots(model)
    _check_headers(source, headers, slots, architecture)
    try:
        with np.load(source, allow_pickle=False) as arrays:
            state = {
                slot.name: _tensor(arrays[f"arr_{i}"], slot, flip_filters) for i, slot in enumerate(slots)
            }
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise ValueError(f"{source}: is not an .npz file ({error})") from None
    bad = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"{source}: {bad[0]} holds NaN or infinity")
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = value
    model.load_state_dict(state)
    return model.eval()


def _slots(model: nn.Module) -> list[_Slot]:
    """List the arrays in the order of the file, which is the order in which modules are registered."""
    slots = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv3d):
            slots.append(_Slot(f"{name}.weight", tuple(module.weight.shape), "convolution"))
            slots.append(_Slot(f"{name}.bias", (module.out_channels,), "as it is"))
        elif isinstance(module, nn.Linear):
            slots.append(_Slot(f"{name}.weight", (module.in_features, module.out_features), "transposed"))
            slots.append(_Slot(f"{name}.bias", (module.out_features,), "as it is"))
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d):
            size = (module.num_features,)
            for own in ("bias", "weight", "running_mean"):
                slots.append(_Slot(f"{name}.{own}", size, "as it is"))
            slots.append(_Slot(f"{name}.running_var", size, "inverse deviation", module.eps))
    return slots


def _check_headers(source: Path, found: Headers, slots: Sequence[_Slot], architecture: str) -> None:
    if set(found) != {f"arr_{i}" for i in range(len(slots))}:
        raise ValueError(
            f"{source}: holds {len(found)} arrays; {architecture} has {len(slots)}, "
            f"arr_0 to arr_{len(slots) - 1}"
        )
    for i, slot in enumerate(slots):
        shape, dtype = found[f"arr_{i}"]
        if dtype.kind != "f":
            raise ValueError(f"{source}: arr_{i} is {dtype}, expected floats")
        if shape != slot.shape:
            raise ValueError(f"{source}: arr_{i} has shape {shape}, {slot.name} needs {slot.shape}")


def _tensor(array: np.ndarray, slot: _Slot, flip_filters: bool) -> Tensor:
    if slot.kind == "transposed":
        array = array.T
    elif slot.kind == "inverse deviation":
        array = 1.0 / np.asarray(array, np.float64) ** 2 - slot.eps
    elif slot.kind == "convolution" and flip_filters:
        array = array[:, :, ::-1, ::-1, ::-1]
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
