"""The list of methods. A method is one file of this folder; what it declares there is all that others know.

Options are declared in the signature of the method's constructor, with `Option` in the annotation. The
spelling of the command line, help, validation, sidecars, file names and tables follow from that.
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
    """One option of a method, as it stands in the annotation of a constructor's parameter.

    Attributes
    ----------
    help : str
        One line.
    kind : Kind
        Which values it takes.
    changes_map : bool
        Whether it changes what comes out. The engine, say, changes only how the map is computed: maps that
        differ in nothing else count as the same.
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
        """Read a value; the error says what is allowed."""
        try:
            return self.kind.parse(text)
        except (ValueError, KeyError, OverflowError) as error:
            if self.kind.is_reference:  # says more, such as what it is called here
                raise ValueError(f"{self.name} must be a reference: {error}") from None
            raise ValueError(f"{self.name} must be {self.kind.allowed}, got {text!r}") from None


@dataclass(frozen=True)
class Method:
    """A method as users see it.

    Attributes
    ----------
    name : str
        First word of its spelling.
    title : str
        For headings and figures.
    answers : str
        The question that its map answers.
    cost : str
        What a map costs.
    make : type
        The explainer's class.
    options : dict of Option
        By name, in the order of the constructor.
    presets : dict
        A word to the options that it stands for, such as ``paper``.
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
        """Names of the constructor's parameters that are no options of the method."""
        return frozenset(inspect.signature(self.make).parameters) - frozenset(self.options) - {"model"}

    def build(self, model: nn.Module, options: Mapping[str, Any], **surroundings: Any) -> Any:
        """Return the explainer of a model.

        Parameters
        ----------
        model : torch.nn.Module
            The network.
        options : mapping
            By name; the others have their defaults.
        **surroundings
            What is not part of the method, such as ``batch_size`` or ``progress``; handed on where the
            constructor has a parameter of that name.
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
    """Enter the decorated explainer into the list of methods.

    The constructor takes the model first. Parameters annotated with `Option` are the method's options.

    Parameters
    ----------
    name, title, answers, cost, presets
        As in `Method`.

    Raises
    ------
    ValueError
        If another method has the name, or an option has no default.
    """

    def enter(cls: _Class) -> _Class:
        other = _METHODS.get(name)
        if other is not None and _origin(other.make) != _origin(cls):
            raise ValueError(f"there are two methods {name!r}: {_origin(other.make)} and {_origin(cls)}")
        _METHODS[name] = Method(name, title, answers, cost, cls, declared_options(cls), presets or {})
        return cls

    return enter


def declared_options(make: Callable[..., Any]) -> dict[str, Option]:
    """Return the options that a constructor declares, with their names and defaults."""
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
    room = importlib.import_module(__name__.rpartition(".")[0])
    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")
    return dict(sorted(_METHODS.items()))


def find_method(name: str) -> Method:
    """Return a method by its name.

    Raises
    ------
    ValueError
        If there is none; the message lists those there are.
    """
    known = methods()
    if name not in known:
        if "," in name:
            raise ValueError(f"there is no method {name!r}; separate methods with spaces")
        raise ValueError(f"there is no method {name!r}; {nearest(name, known)}methods: {', '.join(known)}")
    return known[name]


def method_of(make: type) -> Method:
    """Return the method that a class, or the class it derives from, was entered as.

    Raises
    ------
    ValueError
        If there is none.
    """
    for entered in _METHODS.values():
        if inspect.isclass(entered.make) and issubclass(make, entered.make):
            return entered
    raise ValueError(f"{make.__name__} is no method; enter it with pyadx.explainers.registry.method")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean ...? `` for a name that was mistyped, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}? " if close else ""


def _origin(make: Callable[..., Any]) -> str:
    return f"{make.__module__}.{getattr(make, '__qualname__', make)}"
