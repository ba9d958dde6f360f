"""MONAI bundles: the network of a configuration, its weights, and its preprocessing as a model card.

A bundle's configuration names Python code to run, so a bundle is only loaded if the user trusts it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from pyadx.extras import needed_for
from pyadx.models.card import ModelCard, Preprocessing
from pyadx.models.own import read_card, wrap
from pyadx.models.sources.state_dicts import load_weights

_CONFIGS = ("inference", "evaluate", "train")
_NETWORKS = ("network_def", "network", "net")
# Transforms that change neither the grid nor the values of an image.
_NEUTRAL = (
    "LoadImage", "EnsureChannelFirst", "AddChannel", "EnsureType", "ToTensor", "CastToType", "ToDevice",
    "Identity",
)  # fmt: skip


class _Config(NamedTuple):
    """A bundle's configuration, as a parser of MONAI, and its metadata."""

    parser: Any
    meta: Mapping[str, Any]

    def value(self, key: str, default: Any = None) -> Any:
        """Return the value of an entry with its references resolved; this may run the bundle's Python."""
        raw: Any = self.parser.get()
        for part in key.split("#"):
            try:
                raw = raw[int(part)] if isinstance(raw, list) else raw[part]
            except (KeyError, IndexError, TypeError):
                return default
        return self.parser.get_parsed_content(key)


def read_bundle(folder: Path, card: Path | None, weights: Path | None, trust: bool) -> nn.Module:
    """Return the network of a MONAI bundle, with a card.

    Parameters
    ----------
    folder : Path
        Folder with ``configs/inference.json`` (or ``evaluate``, ``train``; or YAML), ``models/model.pt``,
        and ``configs/metadata.json`` unless a card is given.
    card : Path or None
        TOML file to use instead of the bundle's preprocessing and metadata.
    weights : Path or None
        File to use instead of ``models/model.pt``.
    trust : bool
        Whether the Python code that the configuration names may run.

    Raises
    ------
    ValueError
        If it is not a bundle, is not trusted, MONAI is not installed, it cannot be read, its code fails,
        its weights do not fit, or its preprocessing does not map to a card.
    """
    config = _read(folder, trust)
    key = next((name for name in _NETWORKS if name in config.parser.get()), None)
    if key is None:
        raise ValueError(f"{folder}: its configuration has no {' or '.join(_NETWORKS)}")
    try:
        model = config.value(key)
    except Exception as error:  # the bundle's code may raise anything
        words = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{folder}: its {key} cannot be built ({type(error).__name__}: {words})"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{folder}: its {key} is a {type(model).__name__}, expected a torch.nn.Module")
    if weights is None:
        weights = folder / "models" / "model.pt"
        if not weights.is_file():
            raise ValueError(f"{folder}: has no models/model.pt; name its weights with --weights")
    load_weights(model, weights, folder.name)
    own = read_card(card, type(model).__name__) if card is not None else _card(folder, config, model)
    return wrap(
        model,
        in_shape=own.in_shape,
        class_names=own.class_names,
        preprocessing=own.preprocessing,
        channels=own.channels,
        task=own.task,
        output=own.output,
    )


def _read(folder: Path, trust: bool) -> _Config:
    found = [
        path
        for name in _CONFIGS
        for suffix in (".json", ".yaml", ".yml")
        if (path := folder / "configs" / f"{name}{suffix}").is_file()
    ]
    if not found:
        raise ValueError(f"{folder}: is a folder, but no MONAI bundle (it has no configs/inference.json)")
    if not trust:
        raise ValueError(
            f"{folder}: is a MONAI bundle, and its configuration names Python to run; if you trust it, use "
            "--trust"
        )
    with needed_for(f"{folder}: is a MONAI bundle; reading it"):
        from monai.bundle import ConfigParser
    parser = ConfigParser()
    try:
        parser.read_config(str(found[0]))
        meta = folder / "configs" / "metadata.json"
        if meta.is_file():
            parser.read_meta(str(meta))
    except Exception as error:  # JSON, YAML and MONAI raise errors of their own
        raise ValueError(f"{folder}: its configuration cannot be read ({error})") from None
    entries = parser.get()
    entries.setdefault("bundle_root", str(folder))
    entries["bundle_root"] = str(folder)
    parser.set(entries)
    return _Config(parser, dict(entries.get("_meta_", {})))


def _card(folder: Path, config: _Config, model: nn.Module) -> ModelCard:
    try:
        formats = config.meta.get("network_data_format", {})
        given: Mapping[str, Any] = next(iter(formats.get("inputs", {}).values()), {})
        returned: Mapping[str, Any] = next(iter(formats.get("outputs", {}).values()), {})
        prepared: dict[str, Any] = {"in_shape": _numbers(given.get("spatial_shape")), "spacing": None}
        prepared |= _prepared(config)
        in_shape = prepared.pop("in_shape")
        names = [
            str(name)
            for _, name in sorted(returned.get("channel_def", {}).items(), key=lambda p: int(p[0]))
        ]
        missing = [
            what for what, value in (("spatial_shape", in_shape), ("channel_def", names)) if not value
        ]
        if missing:
            raise ValueError(f"its metadata has no {' and no '.join(missing)}")
        return ModelCard(
            type(model).__name__,
            in_shape,
            tuple(names),
            Preprocessing(**prepared),
            channels=int(given.get("num_channels", 1)),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder}: {error}; write a card of your own, --card card.toml") from None


def _prepared(config: _Config) -> dict[str, Any]:
    """Return fields of `Preprocessing`, and ``in_shape``, that correspond to a bundle's transforms."""
    found: dict[str, Any] = {"intensity": "none"}
    transforms = config.parser.get().get("preprocessing", {}).get("transforms", ())
    for place, transform in enumerate(transforms):
        name = str(transform.get("_target_", "")).rsplit(".", 1)[-1]
        if transform.get("_disabled_") in (True, "true", "True"):
            continue
        kind = name.removesuffix("Dict").removesuffix("d")
        if kind in _NEUTRAL:
            continue
        if kind not in _MAPPED:
            raise ValueError(f"its preprocessing {name} does not map to a card")
        arguments = {
            key: config.value(f"preprocessing#transforms#{place}#{key}")
            for key in transform
            if not key.startswith("_")
        }
        fields = _MAPPED[kind](arguments)
        if fields is None:
            raise ValueError(f"its preprocessing {name} does not map to a card with {_as_text(arguments)}")
        if "intensity" in fields and found["intensity"] != "none":
            raise ValueError(f"its preprocessing scales intensities twice, the second time by {name}")
        found |= fields
    return found


def _as_text(arguments: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{key}={value!r}" for key, value in arguments.items() if key != "keys") or "its defaults"
    )


def _numbers(shape: Any) -> tuple[int, int, int] | None:
    values = [shape] * 3 if isinstance(shape, int) else shape
    if isinstance(values, Sequence) and len(values) == 3 and all(type(n) is int and n > 0 for n in values):
        return values[0], values[1], values[2]
    return None


def _spacing(a: Mapping[str, Any]) -> dict[str, Any] | None:
    sizes = a.get("pixdim")
    sizes = [sizes] * 3 if isinstance(sizes, int | float) else list(sizes or ())
    return {"spacing": float(sizes[0])} if len(sizes) == 3 and len(set(sizes)) == 1 else None


def _shape(a: Mapping[str, Any]) -> dict[str, Any] | None:
    shape = _numbers(a.get("spatial_size", a.get("roi_size")))
    return None if shape is None else {"in_shape": shape}


def _normalised(a: Mapping[str, Any]) -> dict[str, Any] | None:
    mean, std = a.get("subtrahend"), a.get("divisor")
    if mean is None and std is None:
        return {"intensity": "zscore"} if a.get("nonzero") is True else None
    if not (isinstance(mean, int | float) and isinstance(std, int | float)) or a.get("nonzero"):
        return None
    return {"intensity": "fixed", "mean": float(mean), "std": float(std)}


def _to_unit(a: Mapping[str, Any], low: str, high: str) -> bool:
    return a.get(low, 0.0) == 0 and a.get(high, 1.0) == 1


def _scaled(a: Mapping[str, Any]) -> dict[str, Any] | None:
    plain = _to_unit(a, "minv", "maxv") and a.get("factor") is None
    return {"intensity": "percentiles", "percentiles": (0.0, 100.0)} if plain else None


def _between(a: Mapping[str, Any]) -> dict[str, Any] | None:
    plain = _to_unit(a, "b_min", "b_max") and a.get("clip") is True and not a.get("relative")
    return {"intensity": "percentiles", "percentiles": (a["lower"], a["upper"])} if plain else None


def _range(a: Mapping[str, Any]) -> dict[str, Any] | None:
    plain = _to_unit(a, "b_min", "b_max") and not a.get("clip")
    low, high = a["a_min"], a["a_max"]
    return {"intensity": "fixed", "mean": float(low), "std": float(high - low)} if plain else None


def _axes(a: Mapping[str, Any]) -> dict[str, Any] | None:
    return {"orientation": a["axcodes"]} if isinstance(a.get("axcodes"), str) else None


_MAPPED: dict[str, Callable[[Mapping[str, Any]], dict[str, Any] | None]] = {
    "Orientation": _axes,
    "Spacing": _spacing,
    "ResizeWithPadOrCrop": _shape,
    "NormalizeIntensity": _normalised,
    "ScaleIntensity": _scaled,
    "ScaleIntensityRangePercentiles": _between,
    "ScaleIntensityRange": _range,
}
