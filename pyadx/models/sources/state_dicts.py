"""Weights of a user's network, from the files that training frameworks write."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.models.pickles import read_plain

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".tar")
# Keys of the state dict in files of Lightning, MONAI, MedicalNet, timm and plain scripts.
_PLACES = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights")
_WRAPPERS = ("module.", "_orig_mod.")  # prefixes of DataParallel and torch.compile


def load_weights(model: nn.Module, path: str | os.PathLike[str], name: str) -> None:
    """Load a state dict into a network; its weights must be exactly those of the network.

    Prefixes that ``DataParallel``, ``torch.compile`` and Lightning put before the names are removed. Counts
    of batches (``num_batches_tracked``) may be missing. Weights are converted to the network's dtypes.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    path : path
        ``.safetensors``, ``.pt``, ``.pth``, ``.ckpt``, ``.bin`` or ``.tar``. Nothing in it is executed.
    name : str
        Name of the network for error messages.

    Raises
    ------
    ValueError
        If the file cannot be read or does not fit the network. The message is one line that begins with the
        file.

    Warns
    -----
    UserWarning
        If a prefix was removed; it states the prefix.
    """
    source = Path(path)
    state = read_state(source)
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    state, prefix = _without_prefix(state, expected)
    _check_fits(source, state, expected, name)
    if prefix:
        warnings.warn(
            f"{source.name}: the names of its weights begin with {prefix!r}; this prefix was removed",
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

    Parameters
    ----------
    source : Path
        File of weights; see `load_weights`.

    Raises
    ------
    ValueError
        If the file is missing or damaged, has an unknown suffix, could run code, or holds no state dict.
    """
    if not source.is_file():
        raise ValueError(f"{source}: no such file of weights")
    if source.suffix == ".safetensors":
        return _safetensors(source)
    if source.suffix.lower() not in _PICKLES:
        raise ValueError(
            f"{source}: a file of weights ends in .safetensors or {', '.join(_PICKLES)}, but this name "
            f"ends in {source.suffix or 'none of these'}"
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
            return "is not a file of torch.save, or is damaged"
        return (
            f"holds a {kind} beside its weights, which could run code; if you trust the file, extract the "
            f"weights: torch.save(torch.load({source.name!r}, weights_only=False)['state_dict'], 'w.pt'), "
            "or .state_dict() if the file holds a whole network"
        )

    data = read_plain(source, refused)
    if not isinstance(data, Mapping):
        raise ValueError(f"{source}: holds a {type(data).__name__}, expected a state dict")
    return data


def _without_prefix(state: dict[str, Tensor], expected: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """Remove the prefixes of the names if the names then fit; return the prefixes, too."""
    taken = ""
    while not set(state) & set(expected):
        first = next(iter(state), "")
        known = [prefix for prefix in _WRAPPERS if all(key.startswith(prefix) for key in state)]
        # Lightning's prefix is the user's name for the network: model.conv1.weight, net.conv1.weight.
        prefix = known[0] if known else first.partition(".")[0] + "."
        if prefix == "." or "." not in first:
            break
        # A LightningModule may also hold weights of its loss; those have another prefix and are left out.
        inner = {key.removeprefix(prefix): t for key, t in state.items() if key.startswith(prefix)}
        if not known and not set(inner) & set(expected):
            break
        state, taken = inner, taken + prefix
    return state, taken


def _check_fits(
    source: Path, state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], name: str
) -> None:
    # Early versions of torch did not count the batches of batch norms.
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in expected]
    other = [key for key in expected if key in state and tuple(state[key].shape) != expected[key]]
    faults = []
    if missing:
        faults.append(f"{len(missing)} missing, such as {missing[0]!r}")
    if unknown:
        faults.append(f"{len(unknown)} not in the network, such as {unknown[0]!r}")
    if other:
        key = other[0]
        faults.append(f"{key!r} has shape {tuple(state[key].shape)}, expected {expected[key]}")
    if faults:
        raise ValueError(f"{source}: its weights do not fit {name}: {'; '.join(faults)}")
