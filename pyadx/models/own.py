"""Cards for a user's own networks, from Python or from a small TOML file."""

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from torch import nn

from pyadx.models.card import ModelCard, Preprocessing, Task, check_shape_and_names
from pyadx.models.registry import attach_card

_PREPARED = ("spacing", "intensity", "orientation", "percentiles", "mean", "std")
_KEYS = ("in_shape", "class_names", *_PREPARED, "channels", "task", "output")
_NEEDED = ("in_shape", "class_names")


def wrap(
    module: nn.Module,
    *,
    in_shape: Sequence[int],
    class_names: Sequence[str],
    preprocessing: Preprocessing | None = None,
    channels: int = 1,
    task: Task = "classification",
    output: str | int | None = None,
) -> nn.Module:
    """Attach a card to a network of your own: what explainers and reports need to know about it.

    Parameters
    ----------
    module : torch.nn.Module
        Any network that takes scans ``[B, channels, D, H, W]``.
    in_shape : sequence of int
        Spatial input shape ``D, H, W``.
    class_names : sequence of str
        One name per class, in the order of the outputs. For a regression, one name per predicted number,
        such as ``("age",)``.
    preprocessing : Preprocessing, optional
        How scans were prepared for training; by default divided by their maximum, on voxels of 2 mm.
    channels : int
        Number of images per scan.
    task : {"classification", "regression"}
        For ``regression``, each output is explained as it is, in the network's units.
    output : str, int or None
        Name or index of the output to explain, if the network returns several.

    Returns
    -------
    torch.nn.Module
        The same module, in its earlier mode, now with ``card``, ``class_names`` and an empty
        ``references``. Its card says ``trained=True``.

    Raises
    ------
    TypeError
        If ``module`` is not a `torch.nn.Module`, or ``channels`` or ``output`` has the wrong type.
    ValueError
        If a value is invalid, or the module already has its own attribute ``card`` or ``references``.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"wrap takes a torch.nn.Module, got {type(module).__name__}")
    ours = isinstance(getattr(module, "card", None), ModelCard)
    for name in ("card", "references"):
        if not ours and hasattr(module, name):
            raise ValueError(
                f"the network has an attribute {name!r} of its own, which the card needs; rename it"
            )
    for name, value in (("in_shape", in_shape), ("class_names", class_names)):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"{name} must be a sequence, got {value!r}")
    card = _card(
        type(module).__name__,
        {"in_shape": in_shape, "class_names": class_names, "channels": channels, "task": task}
        | ({} if output is None else {"output": output}),
        Preprocessing() if preprocessing is None else preprocessing,
    )
    return attach_card(module, card, {})


def read_card(path: str | os.PathLike[str], architecture: str) -> ModelCard:
    """Read a network's card from a TOML file.

    Parameters
    ----------
    path : path
        TOML file. It needs the keys ``in_shape`` and ``class_names``. Optional keys, with the defaults of
        `ModelCard` and `Preprocessing`, are ``spacing`` (mm, or ``"none"`` for the scan's own voxels),
        ``intensity``, ``orientation``, ``percentiles``, ``mean``, ``std``, ``channels``, ``task`` and
        ``output``.
    architecture : str
        Name of the network in sidecars.

    Returns
    -------
    ModelCard
        With ``trained=True``.

    Raises
    ------
    ValueError
        If the file is missing or is not TOML, has an unknown key or lacks one, or a value is invalid. The
        message is one line that begins with the file.
    """
    source = Path(path)
    data = _toml(source)
    for key in data:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(_KEYS)}"
            raise ValueError(f"{source}: unknown key {key!r}; {hint}")
    missing = [key for key in _NEEDED if key not in data]
    if missing:
        raise ValueError(
            f"{source}: {' and '.join(missing)} missing; a card needs at least in_shape and class_names, "
            "such as in_shape = [96, 96, 96] and class_names = ['NC', 'AD']"
        )
    try:
        for key in _NEEDED:
            if not isinstance(data[key], list):
                raise ValueError(f"{key} must be a list, got {data[key]!r}")
        chosen = {key: data.pop(key) for key in _PREPARED if key in data}
        if chosen.get("spacing") == "none":
            chosen["spacing"] = None
        elif isinstance(spacing := chosen.get("spacing", 1.0), bool) or not isinstance(
            spacing, int | float
        ):
            raise ValueError(f"spacing must be a number of mm or 'none', got {spacing!r}")
        return _card(architecture, data, Preprocessing(**chosen))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from None


def _card(architecture: str, values: Mapping[str, Any], preprocessing: Preprocessing) -> ModelCard:
    """Return a checked card of a trained network."""
    shape = tuple(values["in_shape"])
    names = tuple(values["class_names"])
    check_shape_and_names(shape, names)
    if not names:
        raise ValueError("class_names must have at least one name, got none")
    if len(set(names)) < len(names):
        raise ValueError(f"class_names must differ from each other, got {names}")
    rest = {key: value for key, value in values.items() if key not in _NEEDED}
    return ModelCard(
        architecture,
        cast(tuple[int, int, int], shape),
        names,
        preprocessing,
        trained=True,
        **rest,
    )


def _toml(source: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{source}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not a TOML file ({error})") from None
