"""Checkpoints: weights together with the model card and reference images, in safetensors files.

Nothing in a checkpoint is executed. The header is compared with the architecture that it names before
memory is allocated, and pickled checkpoints are only read with ``weights_only=True``.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyadx.files import replacing
from pyadx.models.card import ModelCard
from pyadx.models.pickles import read_plain
from pyadx.models.references import check_shape, class_of, named, stored, widened
from pyadx.models.registry import ARCHITECTURES, attach_card

_CARD_KEY = "pyadx"
_PICKLES = (".pt", ".pth", ".ckpt")
_HALVES = (torch.float16, torch.bfloat16)


def save(
    model: nn.Module, path: str | os.PathLike[str], *, dtype: torch.dtype | None = None, **card_changes: Any
) -> None:
    """Write a model's weights, card and reference images to a safetensors file.

    Parameters
    ----------
    model : torch.nn.Module
        A network of `pyadx.models.build` or `load`.
    path : path
        File to write, ending in ``.safetensors``. It is written under a temporary name and then renamed, so
        an interrupted write leaves an old file intact.
    dtype : torch.dtype, optional
        Store weights in this floating-point type; float16 halves the file. `load` converts half precision
        back to float32. Reference images are always stored as float16.
    **card_changes
        Fields of the model card to change in the file, such as ``trained=True``.

    Raises
    ------
    ValueError
        If the model has no card or is not one of `ARCHITECTURES`, the name does not end in
        ``.safetensors``, or one of its ``references`` is invalid (see `with_references`).
    """
    target = _safetensors_name(path)
    card = getattr(model, "card", None)
    if not isinstance(card, ModelCard):
        raise ValueError("only networks built or loaded by pyadx.models can be saved")
    if card.architecture not in ARCHITECTURES:
        raise ValueError(
            f"{card.architecture} is not an architecture of pyadx, and a checkpoint holds no code; use "
            "pyadx pack, which writes a network of your own as .pt2"
        )
    state = {name: _stored(tensor, dtype) for name, tensor in model.state_dict().items()}
    card = replace(card, **card_changes)
    _write(target, {**state, **stored(getattr(model, "references", {}), card)}, card)


def _safetensors_name(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"a checkpoint is written as .safetensors, got {target.name!r}")
    return target


def _write(target: Path, state: dict[str, Tensor], card: ModelCard) -> None:
    from safetensors.torch import save_file

    metadata = {_CARD_KEY: json.dumps(card.to_dict())}
    with replacing(target) as (partial,):
        save_file(state, partial, metadata=metadata)


def load(path: str | os.PathLike[str]) -> nn.Module:
    """Read a checkpoint.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file written by `save`, or a ``.pt``, ``.pth`` or ``.ckpt`` file of tensors and
        plain data: ``{"card": ..., "state_dict": ...}``, optionally with ``"references"`` by class.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, on the CPU, with attributes ``card``, ``class_names`` and ``references``. The
        last one is a dict of float32 images ``[D, H, W]`` by class name, which may be empty. Weights stored
        in half precision are converted to float32.

    Raises
    ------
    ValueError
        If the file is missing, damaged, not a checkpoint of pyadx, or does not fit the architecture that it
        names. The message is one line that begins with the file.
    """
    card, model, state, references = _read(Path(path))
    weights = {name: t.float() if t.dtype in _HALVES else t for name, t in state.items()}
    model.load_state_dict(weights, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return attach_card(model, card, widened(references)).eval()


def copy_with_card(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    change: Callable[[ModelCard], ModelCard],
    references: Mapping[str, Tensor] | None = None,
) -> ModelCard:
    """Copy a checkpoint with a changed card; weights keep the type in which they are stored.

    Parameters
    ----------
    source : path
        Any file that `load` reads.
    target : path
        File to write, ending in ``.safetensors``; may be the source.
    change : callable
        Takes the card and returns the changed one.
    references : mapping, optional
        Images by class name to add; each replaces an image of the same class. Other images are copied.

    Returns
    -------
    ModelCard
        The changed card.

    Raises
    ------
    ValueError
        As `load` and `save`.
    """
    target = _safetensors_name(target)
    card, _, state, kept = _read(Path(source))
    changed = change(card)
    tensors = {**state, **kept, **stored(references or {}, changed)}
    _write(target, {name: tensor.contiguous() for name, tensor in tensors.items()}, changed)
    return changed


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights, in hexadecimal.

    It covers names, dtypes, shapes and values of the state dict, not the card.

    Parameters
    ----------
    model : torch.nn.Module
        Any network.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    kept = tensor.detach()
    return (kept.to(dtype) if dtype is not None and kept.is_floating_point() else kept).contiguous()


class Contents(NamedTuple):
    """What a checkpoint holds. ``model`` is on the meta device; its weights are in ``state``."""

    card: ModelCard
    model: nn.Module
    state: dict[str, Tensor]
    references: dict[str, Tensor]  # float16, by their names in the file


def _fitting_model(source: Path, card: ModelCard, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    """Build the card's architecture without allocating weights; check names and shapes of the file's."""
    if card.architecture not in ARCHITECTURES:
        raise ValueError(
            f"{source}: unknown architecture {card.architecture!r}; known are {', '.join(ARCHITECTURES)}"
        )
    try:
        with torch.device("meta"):
            model = ARCHITECTURES[card.architecture](
                in_shape=card.in_shape, num_classes=len(card.class_names)
            )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in expected.items():
        if name not in shapes:
            raise ValueError(f"{source}: the weights of {name!r} are missing")
        if shapes[name] != shape:
            raise ValueError(f"{source}: {name!r} has shape {shapes[name]}, expected {shape}")
    for name in sorted(set(shapes) - set(expected), key=str):
        of = class_of(name)
        if of is None:
            raise ValueError(f"{source}: unexpected weights {name!r}")
        try:
            check_shape(of, shapes[name], card)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
    return model


def _contents(source: Path, card: ModelCard, model: nn.Module, tensors: Mapping[str, Tensor]) -> Contents:
    state = {name: tensor for name, tensor in tensors.items() if class_of(name) is None}
    images = {of: tensor for name, tensor in tensors.items() if (of := class_of(name)) is not None}
    try:
        return Contents(card, model, state, stored(images, card))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _read(source: Path) -> Contents:
    if not source.is_file():
        raise ValueError(f"{source}: no such checkpoint file")
    if source.suffix == ".safetensors":
        return _read_safetensors(source)
    if source.suffix in _PICKLES:
        return _read_pickle(source)
    raise ValueError(
        f"{source}: a checkpoint ends in .safetensors (or {', '.join(_PICKLES)}), "
        f"but this name ends in {source.suffix or 'none of these'}"
    )


def _read_card(source: Path, data: object) -> ModelCard:
    try:
        return ModelCard.from_dict(data)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _read_safetensors(source: Path) -> Contents:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(source, framework="pt") as file:
            text = (file.metadata() or {}).get(_CARD_KEY)
            if text is None:
                raise ValueError(f"{source}: not a checkpoint of pyadx (no model card in it)")
            try:
                data = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(f"{source}: its model card is not JSON ({error})") from None
            card = _read_card(source, data)
            # Shapes come from the header, so a wrong file is refused before its tensors are read.
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            model = _fitting_model(source, card, shapes)
            return _contents(source, card, model, {name: file.get_tensor(name) for name in names})
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{source}: damaged or not a safetensors file ({error})") from None


def _advice(source: Path, names: Iterable[Any] | None, key: str) -> str:
    """Return how to make a checkpoint from a file of weights, as one line of code that can be run.

    ``names`` are the names of the weights, if known; ``key`` is the state dict's subscript in the file.
    """
    known = None if names is None else _architecture_of(set(names))
    target = str(source.with_suffix(".safetensors"))
    return (
        f"weights of a pyadx architecture become a checkpoint by: from pyadx import models; import torch; "
        f"m = models.build({known or 'vggnet'!r}, in_shape=(110, 110, 110), class_names=('NC', 'AD')); "
        f"m.load_state_dict(torch.load({str(source)!r}){key}); models.save(m, {target!r}, trained=True) # "
        f"with your own grid and classes. Any other network: --model net.py:factory --weights {source} "
        "--card card.toml"
    )


def _architecture_of(names: set[Any]) -> str | None:
    for architecture, network in ARCHITECTURES.items():
        with torch.device("meta"):
            if set(network(in_shape=(110, 110, 110), num_classes=2).state_dict()) == names:
                return architecture
    return None


def _read_pickle(source: Path) -> Contents:
    def refused(kind: str | None) -> str:
        what = (
            "it is not a file of torch.save" if kind is None else f"it holds a {kind}, which could run code"
        )
        advice = _advice(source, None, "")
        return f"cannot be read as plain weights ({what}); save the model's state_dict(), then: {advice}"

    data = read_plain(source, refused)
    if not isinstance(data, dict) or not {"card", "state_dict"} <= set(data):
        inner = isinstance(data, dict) and isinstance(data.get("state_dict"), dict)
        names = data["state_dict"] if inner else data if isinstance(data, dict) else None
        raise ValueError(
            f"{source}: holds no model card; " + _advice(source, names, "['state_dict']" if inner else "")
        )
    for part in ("state_dict", "references"):
        given = data.get(part, {})
        if not isinstance(given, dict) or not all(isinstance(t, Tensor) for t in given.values()):
            raise ValueError(f"{source}: {part!r} must map names to tensors")
    card = _read_card(source, data["card"])
    tensors = {**data["state_dict"], **named(data.get("references", {}))}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return _contents(source, card, _fitting_model(source, card, shapes), tensors)
