"""How methods are spelled: ``NAME[:option=value[,option=value...]]``, the same everywhere."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pyadx.explainers.registry import Method, Option, find_method, nearest

_LONGEST = 60  # characters of a description in a file name


@dataclass(frozen=True)
class MethodSpec:
    """A method with all its options.

    Attributes
    ----------
    method : Method
        From the list of methods.
    options : dict
        Every option's value, by name.
    """

    method: Method
    options: Mapping[str, Any]

    @property
    def canonical(self) -> str:
        """The spelling that names every option that differs from its default and changes the map."""
        return _spelled(self.method.name, {o.name: o.kind.write(v) for o, v in self._differing()})

    @property
    def description(self) -> str:
        """Letters and digits for the names of files; different for different spellings."""
        words = self.method.name
        plain = True
        for option, value in self._differing():
            text = option.kind.write(value)
            safe = re.sub(r"(?<=\d)\.(?=\d)", "p", re.sub(r"^-(?=\d)", "m", text))
            plain = plain and safe.isalnum() and safe.isascii()
            words += option.name.title().replace("_", "") + re.sub(r"[^A-Za-z0-9]", "", safe)
        if plain and len(words) <= _LONGEST:
            return words
        return words[: _LONGEST - 8] + hashlib.sha256(self.canonical.encode()).hexdigest()[:8]

    @property
    def reference(self) -> str | None:
        """The option that holds a reference (`pyadx.explainers.references`), if there is one."""
        names = [option.name for option in self.method.options.values() if option.kind.is_reference]
        return next((name for name in names if self.options[name] is not None), None)

    def changing_options(self) -> dict[str, Any]:
        """Return those of `plain_options` that decide what the map is."""
        changing = {option.name for option in self.method.options.values() if option.changes_map}
        return {name: value for name, value in self.plain_options().items() if name in changing}

    def plain_options(self) -> dict[str, Any]:
        """Return all options as plain data for JSON."""
        plain = {}
        for name, option in self.method.options.items():
            value = self.options[name]
            own = isinstance(value, bool | int | float | None) or (
                isinstance(value, str) and not option.kind.is_reference
            )
            plain[name] = value if own else option.kind.write(value)
        return plain

    def build(self, model: nn.Module, **surroundings: Any) -> Any:
        """Return the explainer of a model; see `Method.build`."""
        return self.method.build(model, self.options, **surroundings)

    def _differing(self) -> list[tuple[Option, Any]]:
        options = self.method.options.values()
        return [
            (option, self.options[option.name])
            for option in options
            if option.changes_map and not same_value(option, self.options[option.name], option.default)
        ]


def same_value(option: Option, one: Any, other: Any) -> bool:
    """Whether two values of an option are written alike, such as 7 and (7, 7, 7) voxels."""
    if one is None or other is None:
        return one is other
    return option.kind.write(one) == option.kind.write(other)


def parse_method(text: str) -> MethodSpec:
    """Read a method as users write it.

    Parameters
    ----------
    text : str
        Such as ``gradcam:layer=conv2b`` or ``occlusion:window=5,stride=2,score=logit``. An option that is
        true or false may stand alone (``sa3ducm:signed``). So may a preset (``occlusion:paper``); options
        after it refine it.

    Returns
    -------
    MethodSpec
        With the defaults of the options that were not named.

    Raises
    ------
    ValueError
        If there is no such method or option, a value is not allowed, or an option stands there twice. The
        message names the nearest options and lists the method's.
    """
    name, colon, rest = text.strip().partition(":")
    found = find_method(name.strip())
    options = {option.name: option.default for option in found.options.values()}
    named: set[str] = set()
    items = [item.strip() for item in rest.split(",")] if colon else []
    for item in items:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals and key in found.presets:
            if named:
                raise ValueError(f"{text!r}: the preset {key} comes before other options")
            options |= found.presets[key]
            continue
        option = found.options.get(key)
        if option is None:
            raise ValueError(f"{text!r}: {_no_option(found, key)}")
        if key in named:
            raise ValueError(f"{text!r}: {key} stands there twice")
        named.add(key)
        if not equals and not isinstance(option.default, bool):
            raise ValueError(f"{text!r}: {key} needs a value: {option.kind.allowed}")
        try:
            options[key] = option.parse(value) if equals else True
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
    return MethodSpec(found, options)


def _no_option(method: Method, key: str) -> str:
    known = [*method.options, *method.presets]
    return (
        f"{method.name} has no option {key!r}; {nearest(key, known)}"
        f"its options: {', '.join(known) or 'none'}"
    )


def _spelled(name: str, values: Mapping[str, str]) -> str:
    return ":".join([name, ",".join(f"{key}={value}" for key, value in values.items())][: 1 + bool(values)])


def explainer(spelling: str, model: nn.Module, **surroundings: Any) -> Any:
    """Return the explainer that a spelling asks for.

    Parameters
    ----------
    spelling : str
        As `parse_method` reads it, for example ``"occlusion:window=5,score=logit"``.
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores ``[B, classes]``.
    **surroundings
        ``batch_size``, ``progress`` and the like, handed to the constructor where it knows them.

    Returns
    -------
    explainer
        Such as `pyadx.Occlusion`.

    Raises
    ------
    ValueError
        If the spelling is not understood, or an option does not fit the model.
    """
    return parse_method(spelling).build(model, **surroundings)
