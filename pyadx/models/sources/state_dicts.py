"""Weights of somebody's network, from the files that training frameworks write."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.models.pickles import read_plain

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".tar")
# Where frameworks keep the state dict: Lightning, MONAI, MedicalNet, timm, plain scripts.
_PLACES = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights")
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel, torch.compile


def load_weights(model: nn.Module, path: str | os.PathLike[str], name: str) -> None:
    """Load a state dict into a network; every weight must be there, and none may be left over.

    Prefixes that ``DataParallel``, ``torch.compile`` and Lightning put before the names are taken away,
    with a warning that says so.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    path : path
        ``.safetensors``, or ``.pt``, ``.pth``, ``.ckpt``, ``.bin``, ``.tar``, of which nothing is executed.
    name : str
        What errors call the network.

    Raises
    ------
    ValueError
        If the file cannot be read, or does not fit. One line, beginning with the file.
    """
    source = Path(path)
    state = read_state(source)
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    state, prefix = _without_prefix(state, expected)
    _check_fits(source, state, expected, name)
    if prefix:
        warnings.warn(
            f"{source.name}: the names of its weights begin with {prefix!r}, which was taken away",
            UserWarning,
            stacklevel=3,
        )
    own = model.state_dict()
    widened = {
        key: tensor.to(own[key].dtype) if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }
    with torch.no_grad():
        model.load_state_dict(widened, strict=False)


def read_state(source: Path) -> dict[str, Tensor]:
    """Return the state dict in a file, without executing anything in it.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not source.is_file():
        raise ValueError(f"{source}: no such file of weights")
    if source.suffix == ".safetensors":
        return _safetensors(source)
    if source.suffix.lower() not in _PICKLES:
        raise ValueError(
            f"{source}: weights end in .safetensors or {', '.join(_PICKLES)}, not "
            f"{source.suffix or 'without a suffix'}"
        )
    data = _unpickled(source)
    for place in ("", *_PLACES):
        found = data.get(place) if place else data
        if isinstance(found, Mapping) and found and all(isinstance(t, Tensor) for t in found.values()):
            return {str(key): tensor.detach() for key, tensor in found.items()}
    there = ", ".join(map(str, list(data)[:6])) or "nothing"
    raise ValueError(f"{source}: holds no state dict; it holds {there}")


def _safetensors(source: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(source)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{source}: damaged or not a safetensors file ({error})") from None


def _unpickled(source: Path) -> Mapping[str, Any]:
    def refused(kind: str | None) -> str:
        if kind is None:
            return "is no file of torch.save, or damaged"
        return (
            f"holds a {kind} beside its weights, which could run code; where you trust the file: "
            f"torch.save(torch.load({source.name!r}, weights_only=False)['state_dict'], 'w.pt'), or "
            ".state_dict() of a whole network"
        )

    data = read_plain(source, refused)
    if not isinstance(data, Mapping):
        raise ValueError(f"{source}: holds a {type(data).__name__}, expected a state dict")
    return data


def _without_prefix(state: dict[str, Tensor], expected: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """Take away what stands before every name and makes the names fit; return that, too."""
    taken = ""
    while not set(state) & set(expected):
        first = next(iter(state), "")
        known = [prefix for prefix in _WRAPPERS if all(key.startswith(prefix) for key in state)]
        # Lightning calls the network what the user did: model.conv1.weight, net.conv1.weight.
        prefix = known[0] if known else first.partition(".")[0] + "."
        if prefix == "." or "." not in first:
            break
        # A LightningModule may keep weights of its loss beside the network: those have another prefix.
        inner = {key.removeprefix(prefix): t for key, t in state.items() if key.startswith(prefix)}
        if not known and not set(inner) & set(expected):
            break
        state, taken = inner, taken + prefix
    return state, taken


def _check_fits(
    source: Path, state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], name: str
) -> None:
    # Files of early versions of torch do not count batches.
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in expected]
    other = [key for key in expected if key in state and tuple(state[key].shape) != expected[key]]
    told = []
    if missing:
        told.append(f"{len(missing)} weights are missing, such as {missing[0]!r}")
    if unknown:
        told.append(f"{len(unknown)} are not of this network, such as {unknown[0]!r}")
    if other:
        key = other[0]
        told.append(f"{key!r} has shape {tuple(state[key].shape)}, expected {expected[key]}")
    if told:
        raise ValueError(f"{source}: does not fit {name}: {'; '.join(told)}")
