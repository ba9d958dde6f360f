"""Training protocols: those of the paper, and those read from TOML files."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch.nn import Parameter

from pyadx.models.registry import check_architecture
from pyadx.ops.numbers import real_number, whole_number

Optimizer = Literal["adam", "sgd"]


@dataclass(frozen=True)
class Protocol:
    """How a network is trained.

    Attributes
    ----------
    optimizer : {"adam", "sgd"}
        Adam (Kingma and Ba, ICLR 2015), or stochastic gradient descent with Nesterov momentum.
    learning_rate : float
        Constant during the training; 1e-12 to 100.
    batch_size : int
        Largest number of scans in a batch, 2 to 4096; every batch contains every class.
    epochs : int
        Number of passes over the training scans, 1 to 100,000.
    momentum : float
        Momentum of ``sgd``, 0 to 0.9999.
    weight_decay : float
        Factor of the L2 penalty, 0 to 100; the paper uses none.
    flip : bool
        Augmentation: mirror a scan along axis D (left and right on a grid of orientation RAS) with
        probability 0.5.
    shift : int
        Augmentation: shift a scan along every axis by a random number of voxels up to this, 0 to 64.

    Raises
    ------
    ValueError
        If a value is of the wrong type or out of range.
    """

    optimizer: Optimizer
    learning_rate: float
    batch_size: int
    epochs: int
    momentum: float = 0.9
    weight_decay: float = 0.0
    flip: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in get_args(Optimizer):
            raise ValueError(f"optimizer must be adam or sgd, got {self.optimizer!r}")
        for name, low, high in (
            ("learning_rate", 1e-12, 100.0),
            ("batch_size", 2, 4096),
            ("epochs", 1, 100_000),
            ("momentum", 0.0, 0.9999),
            ("weight_decay", 0.0, 100.0),
            ("shift", 0, 64),
        ):
            value = getattr(self, name)
            whole = name in ("batch_size", "epochs", "shift")
            number = whole_number(value) if whole else real_number(value)
            if number is None:
                raise ValueError(f"{name} must be a {'whole ' if whole else ''}number, got {value!r}")
            if not low <= number <= high:
                raise ValueError(f"{name} must be between {low:g} and {high:g}, got {value!r}")
            if not isinstance(value, int | float):  # JSON cannot store NumPy's numbers
                object.__setattr__(self, name, number)
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip must be true or false, got {self.flip!r}")

    def make_optimizer(self, parameters: Iterator[Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer for a network's parameters."""
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, self.learning_rate, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            parameters,
            self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )


# Paper section 3.1, from the reference implementation of Korolev et al. (ISBI 2017).
PROTOCOLS = {
    "vggnet": Protocol("adam", 2.7e-5, batch_size=5, epochs=150),
    "resnet": Protocol("sgd", 1e-3, batch_size=3, epochs=150),
}


def paper_protocol(architecture: str) -> Protocol:
    """Return the paper's protocol for one of its networks.

    Parameters
    ----------
    architecture : {"vggnet", "resnet", "resnet-gap", "resnet-shallow-gap"}
        ``vggnet`` has its own protocol; the others have that of 3D-ResNet.

    Raises
    ------
    ValueError
        If the paper has no such network.
    """
    check_architecture(architecture)
    return PROTOCOLS["vggnet" if architecture == "vggnet" else "resnet"]


def read_protocol(path: str | os.PathLike[str], base: Protocol) -> Protocol:
    """Read a protocol from a TOML file.

    Parameters
    ----------
    path : path
        File with some of the attributes of `Protocol` as keys.
    base : Protocol
        Source of the values that the file does not set.

    Raises
    ------
    ValueError
        If the file is missing or is not TOML, or a key is unknown or a value out of range. The message
        begins with the file.
    """
    source = Path(path)
    if not source.is_file():
        raise ValueError(f"{source}: no such protocol file")
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: is not TOML ({error})") from None
    return with_changes(base, data, str(source))


def with_changes(base: Protocol, changes: dict[str, Any], source: str = "protocol") -> Protocol:
    """Return a protocol with some fields changed.

    Parameters
    ----------
    base : Protocol
        Protocol to start from; it is not changed.
    changes : dict
        New values by name of the field.
    source : str
        Beginning of error messages, such as the file of the changes.

    Raises
    ------
    ValueError
        If a field does not exist, or a value is of the wrong type or out of range.
    """
    known = [field.name for field in fields(Protocol)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"{source}: unknown {', '.join(unknown)}; a protocol has {', '.join(known)}")
    try:
        return replace(base, **changes)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
