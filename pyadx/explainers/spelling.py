"""How methods are written as text, ``NAME[:option=value[,option=value...]]``, in commands and in Python."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pyadx.explainers.registry import Method, Option, find_method, nearest

_LONGEST = 60  # characters that a method takes in a file name


@dataclass(frozen=True)
class MethodSpec:
    """A method with all its options.

    Attributes
    ----------
    method : Method
        The registered method.
    options : dict
        The value of every option, by name.
    """

    method: Method
    options: Mapping[str, Any]

    @property
    def canonical(self) -> str:
        """The spelling that names just the options that change the map and differ from their defaults."""
        return _spelled(self.method.name, {o.name: o.kind.write(v) for o, v in self._differing()})

    @property
    def description(self) -> str:
        """The spelling as letters and digits, for file names. Different spellings give different ones."""
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
        """Name of the option that holds a reference (`pyadx.explainers.references`), or None."""
        names = [option.name for option in self.method.options.values() if option.kind.is_reference]
        return next((name for name in names if self.options[name] is not None), None)

    def changing_options(self) -> dict[str, Any]:
        """Return those of `plain_options` that change the map."""
        changing = {option.name for option in self.method.options.values() if option.changes_map}
        return {name: value for name, value in self.plain_options().items() if name in changing}

    def plain_options(self) -> dict[str, Any]:
        """Return all options as plain data for JSON: numbers, booleans, None or text."""
        plain = {}
        for name, option in self.method.options.items():
            value = self.options[name]
            own = isinstance(value, bool | int | float | None) or (
                isinstance(value, str) and not option.kind.is_reference
            )
            plain[name] = value if own else option.kind.write(value)
        return plain

    def build(self, model: nn.Module, **surroundings: Any) -> Any:
        """Return the explainer for a model; see `Method.build`."""
        return self.method.build(model, self.options, **surroundings)

    def _differing(self) -> list[tuple[Option, Any]]:
        options = self.method.options.values()
        return [
            (option, self.options[option.name])
            for option in options
            if option.changes_map and not same_value(option, self.options[option.name], option.default)
        ]


def same_value(option: Option, one: Any, other: Any) -> bool:
    """Whether two values of an option are written in the same way, such as 7 and (7, 7, 7) voxels."""
    if one is None or other is None:
        return one is other
    return option.kind.write(one) == option.kind.write(other)


def parse_method(text: str) -> MethodSpec:
    """Read a method from its spelling.

    Parameters
    ----------
    text : str
        For example ``gradcam:layer=conv2b`` or ``occlusion:window=5,stride=2,score=logit``. An option that
        is true or false needs no value to be true (``sa3ducm:signed``). A preset comes first, without a
        value (``occlusion:paper``); options after it override it.

    Returns
    -------
    MethodSpec
        The method and all its options; those that were not named have their defaults.

    Raises
    ------
    ValueError
        If there is no such method or option, a value is not allowed, or an option is given twice. For an
        unknown option the message names the most similar ones and lists all of the method.
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
                raise ValueError(f"{text!r}: the preset {key} must come before other options")
            options |= found.presets[key]
            continue
        option = found.options.get(key)
        if option is None:
            raise ValueError(f"{text!r}: {_no_option(found, key)}")
        if key in named:
            raise ValueError(f"{text!r}: {key} is given twice")
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
    """Return the explainer that a spelling describes.

    Parameters
    ----------
    spelling : str
        A method and its options, such as ``"occlusion:window=5,score=logit"``; see `parse_method`.
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores ``[B, classes]``.
    **surroundings
        Other arguments of the constructor, such as ``batch_size`` or ``progress``. Names that it does not
        have are ignored.

    Returns
    -------
    Explainer
        For example a `pyadx.Occlusion`.

    Raises
    ------
    ValueError
        If the spelling cannot be read, or an option does not fit the model.
    """
    return parse_method(spelling).build(model, **surroundings)
