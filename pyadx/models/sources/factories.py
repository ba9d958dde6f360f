"""Networks that a user's own code makes."""

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
    """Return the source file of a user's code.

    Parameters
    ----------
    code : str
        ``file.py``, or ``package.module`` from the working folder or an installed package.

    Returns
    -------
    Path or None
        ``None`` for a module without a file.

    Raises
    ------
    ValueError
        If there is no such file or module.
    """
    if code.endswith(".py"):
        path = Path(code)
        if not path.is_file():
            raise ValueError(f"{code}: no such file")
        return path
    with _working_folder_on_path(), _errors_in_one_line(code):
        spec = importlib.util.find_spec(code)
    if spec is None:
        raise ValueError(f"{code}: no such module in the working folder, nor among the installed packages")
    return Path(spec.origin) if spec.has_location and spec.origin else None


def made_by(code: str, name: str) -> nn.Module:
    """Run a user's code and return the network that it makes.

    Parameters
    ----------
    code : str
        ``file.py`` or ``package.module``.
    name : str
        A function or class in it that needs no arguments, or a network.

    Raises
    ------
    ValueError
        If there is no such file or name, it needs arguments, the code fails, or the result is not a
        `torch.nn.Module`. The message is one line, with the line of the code that failed.
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
        raise ValueError(f"{code}:{name}: returned {type(found).__name__}, expected a torch.nn.Module")
    return found


def _module(code: str, path: Path | None) -> ModuleType:
    if not code.endswith(".py"):
        with _working_folder_on_path(), _errors_in_one_line(code):
            return importlib.import_module(code)
    assert path is not None
    # A unique name: a net.py must not be taken for another net.py, nor for an installed package.
    own = f"_pyadx_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(own, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module  # dataclasses and pickle look it up there
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # the code may import files of its folder, also when it runs later
        sys.path.insert(0, folder)
    try:
        with _errors_in_one_line(code):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module


def _called(make: Any, what: str) -> Any:
    if not callable(make):
        raise ValueError(
            f"{what}: is of type {type(make).__name__}, expected a torch.nn.Module, or a function or class "
            "that makes one"
        )
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
            f"{what}: needs arguments ({', '.join(needed)}); write a function without any, such as "
            f"def network(): return {what.rsplit(':', 1)[1]}({needed[0]}=...)"
        )
    with _errors_in_one_line(what):
        return make()


def _may_make(value: Any, module: ModuleType) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return isinstance(value, nn.Module) or (callable(value) and own)


@contextmanager
def _working_folder_on_path() -> Iterator[None]:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    yield


@contextmanager
def _errors_in_one_line(what: str) -> Iterator[None]:
    """Turn an error in a user's code into a ``ValueError`` of one line with the place of the error."""
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
