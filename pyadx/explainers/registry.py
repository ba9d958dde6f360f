"""The registry of methods.

Each method is one file of this folder. Its options are declared in the signature of its constructor, with
`Option` in the annotation. Command-line spelling and help, validation, sidecars, file names and tables are
all derived from these declarations, so a new method needs no change elsewhere.
"""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, get_args, get_type_hints

from torch import nn

from pyadx.explainers.option_kinds import Kind

_Class = TypeVar("_Class", bound=type)
_METHODS: dict[str, "Method"] = {}


@dataclass(frozen=True)
class Option:
    """One option of a method, declared in the annotation of a constructor's parameter.

    Attributes
    ----------
    help : str
        Description in one line.
    kind : Kind
        Which values the option takes.
    changes_map : bool
        Whether the option changes the map. The engine, for example, changes only how the map is computed;
        maps that differ in such options alone count as the same.
    name : str
        The parameter's name; filled in by `method`.
    default : object
        The parameter's default; filled in by `method`.
    """

    help: str
    kind: Kind
    changes_map: bool = True
    name: str = ""
    default: Any = None

    def parse(self, text: str) -> Any:
        """Read a value from text.

        Raises
        ------
        ValueError
            If the text is not an allowed value. The message says what is allowed.
        """
        try:
            return self.kind.parse(text)
        except (ValueError, KeyError, OverflowError) as error:
            if self.kind.is_reference:  # its message says more, such as our name for it
                raise ValueError(f"{self.name} must be a reference: {error}") from None
            raise ValueError(f"{self.name} must be {self.kind.allowed}, got {text!r}") from None


@dataclass(frozen=True)
class Method:
    """A method as users see it.

    Attributes
    ----------
    name : str
        Name of the method, the first word of its spelling.
    title : str
        Title for headings and figures.
    answers : str
        The question that its map answers.
    cost : str
        What a map costs, in words.
    make : type
        The explainer's class.
    options : dict of Option
        The options by name, in the order of the constructor.
    presets : dict
        Option values by the name of the preset, such as ``paper``.
    """

    name: str
    title: str
    answers: str
    cost: str
    make: Callable[..., Any]
    options: Mapping[str, Option] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def surroundings(self) -> frozenset[str]:
        """Parameters of the constructor that are not options of the method, without ``model``."""
        return frozenset(inspect.signature(self.make).parameters) - frozenset(self.options) - {"model"}

    def build(self, model: nn.Module, options: Mapping[str, Any], **surroundings: Any) -> Any:
        """Return this method's explainer for a model.

        Parameters
        ----------
        model : torch.nn.Module
            The network.
        options : mapping
            Option values by name. Options that are not named keep their defaults.
        **surroundings
            Arguments that are not part of the method, such as ``batch_size`` or ``progress``. Names that
            the constructor does not have are ignored.

        Returns
        -------
        Explainer
            An instance of `make`.
        """
        known = self.surroundings
        fitting = {name: value for name, value in surroundings.items() if name in known}
        return self.make(model, **fitting, **options)


def method(
    name: str,
    *,
    title: str,
    answers: str,
    cost: str,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[_Class], _Class]:
    """Register the decorated explainer as a method.

    The constructor takes the model first. Its parameters that are annotated with `Option` are the method's
    options.

    Parameters
    ----------
    name, title, answers, cost, presets
        As in `Method`.

    Returns
    -------
    callable
        A class decorator.

    Raises
    ------
    ValueError
        If the name is taken, or an option has no default.
    """

    def enter(cls: _Class) -> _Class:
        other = _METHODS.get(name)
        if other is not None and _origin(other.make) != _origin(cls):
            raise ValueError(f"there are two methods {name!r}: {_origin(other.make)} and {_origin(cls)}")
        _METHODS[name] = Method(name, title, answers, cost, cls, declared_options(cls), presets or {})
        return cls

    return enter


def declared_options(make: Callable[..., Any]) -> dict[str, Option]:
    """Return the options that a constructor declares, with their names and defaults.

    Raises
    ------
    ValueError
        If an option has no default.
    """
    constructor = make.__init__ if inspect.isclass(make) else make
    hints = get_type_hints(constructor, include_extras=True)
    found = {}
    for parameter in inspect.signature(make).parameters.values():
        for extra in get_args(hints.get(parameter.name))[1:]:
            if isinstance(extra, Option):
                if parameter.default is inspect.Parameter.empty:
                    raise ValueError(f"option {parameter.name!r} of {make!r} needs a default")
                found[parameter.name] = replace(extra, name=parameter.name, default=parameter.default)
    return found


def methods() -> dict[str, Method]:
    """Return all methods by name, in alphabetical order."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_METHODS.items()))


def find_method(name: str) -> Method:
    """Return a method by its name.

    Raises
    ------
    ValueError
        If there is no such method. The message lists all methods.
    """
    known = methods()
    if name not in known:
        if "," in name:
            raise ValueError(f"there is no method {name!r}; separate methods with spaces")
        raise ValueError(f"there is no method {name!r}; {nearest(name, known)}methods: {', '.join(known)}")
    return known[name]


def method_of(make: type) -> Method:
    """Return the method that a class, or a base class of it, was registered as.

    Raises
    ------
    ValueError
        If neither is registered.
    """
    for entered in _METHODS.values():
        if inspect.isclass(entered.make) and issubclass(make, entered.make):
            return entered
    raise ValueError(
        f"{make.__name__} is not a registered method; decorate it with pyadx.explainers.registry.method"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean ...? `` with names similar to a mistyped one, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}? " if close else ""


def _origin(make: Callable[..., Any]) -> str:
    return f"{make.__module__}.{getattr(make, '__qualname__', make)}"
