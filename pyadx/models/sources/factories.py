"""Networks made by a user's own code."""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn


def code_file(code: str) -> Path | None:
    """Return the file of ``file.py`` or ``package.module``; ``None`` for a module without one.

    Raises
    ------
    ValueError
        If there is none.
    """
    if code.endswith(".py"):
        path = Path(code)
        if not path.is_file():
            raise ValueError(f"{code}: no such file")
        return path
    with _here_on_the_path(), _told(code):
        spec = importlib.util.find_spec(code)
    if spec is None:
        raise ValueError(f"{code}: no such module; it is looked for here and among what is installed")
    return Path(spec.origin) if spec.has_location and spec.origin else None


def made_by(code: str, name: str) -> nn.Module:
    """Return the network that ``name`` in ``file.py`` or ``package.module`` is or makes.

    This runs the code. ``name`` is a function or class that needs no arguments, or a network.

    Raises
    ------
    ValueError
        If there is no such file or name, it needs arguments, the code fails, or what it gives is no
        network. One line, with the line of the code that failed.
    """
    path = code_file(code)
    module = _module(code, path)
    try:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        there = [key for key, value in vars(module).items() if _may_make(value, module)]
        known = f"it has {', '.join(there[:8])}" if there else "it defines no function and no network"
        raise ValueError(f"{code}: has no {name!r}; {known}") from None
    if not isinstance(found, nn.Module):
        found = _called(found, f"{code}:{name}")
    if not isinstance(found, nn.Module):
        raise ValueError(f"{code}:{name}: gave a {type(found).__name__}, expected a torch.nn.Module")
    return found


def _module(code: str, path: Path | None) -> ModuleType:
    if not code.endswith(".py"):
        with _here_on_the_path(), _told(code):
            return importlib.import_module(code)
    assert path is not None
    # A name of its own: a net.py must not stand in for the next one, nor for an installed package.
    own = f"_pyadx_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(own, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module  # dataclasses and pickles look there
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # for what stands beside it, also imported later
        sys.path.insert(0, folder)
    try:
        with _told(code):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module


def _called(make: Any, what: str) -> Any:
    if not callable(make):
        raise ValueError(f"{what}: is a {type(make).__name__}, expected what makes or is a torch.nn.Module")
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise ValueError(
            f"{what}: needs {', '.join(needed)}; write a function that needs nothing, such as "
            f"def network(): return {what.rsplit(':', 1)[1]}({needed[0]}=...)"
        )
    with _told(what):
        return make()


def _may_make(value: Any, module: ModuleType) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return isinstance(value, nn.Module) or (callable(value) and own)


@contextmanager
def _here_on_the_path() -> Iterator[None]:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    yield


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever a user's code raises into one line that names where it did."""
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
        where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        if isinstance(error, SyntaxError) and error.lineno is not None:
            where = f" at {Path(error.filename or what).name}:{error.lineno}"
        words = str(error).splitlines()
        reason = f"{type(error).__name__}{': ' + words[0] if words else ''}"
        raise ValueError(f"{what}: its code fails{where} ({reason})") from error
