"""What ``--model``, ``--weights``, ``--card`` and ``--trust`` say, and the network that they mean."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from pyadx.models.card import ModelCard
from pyadx.models.checkpoints import fingerprint, load
from pyadx.models.demonstration import demonstration_checkpoint
from pyadx.models.own import read_card
from pyadx.models.registry import ARCHITECTURES, attach_card, build
from pyadx.models.sources.archives import input_words, read_archive
from pyadx.models.sources.factories import code_file, made_by
from pyadx.models.sources.state_dicts import load_weights

_FACTORY = re.compile(r"(?P<code>.+\.py|[A-Za-z_]\w*(?:\.\w+)*):(?P<name>[A-Za-z_][\w.]*)")


@dataclass(frozen=True)
class ModelSource:
    """A network that is still where the user keeps it.

    Attributes
    ----------
    model : str
        A checkpoint of `pyadx.models.save`; ``demo:NAME``, a bundled network; ``file.py:factory`` or
        ``package.module:factory``, what returns a `torch.nn.Module`; an archive of ``torch.export`` or
        ``pyadx pack``, ``.pt2``; or the name of an architecture of `pyadx.models.build`.
    weights : Path or None
        State dict for code that comes without: ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors``.
    card : Path or None
        TOML file of `pyadx.models.read_card`.
    trust : bool
        Whether files may run code that they hold.
    """

    model: str
    weights: Path | None = None
    card: Path | None = None
    trust: bool = False

    @classmethod
    def of(cls, model: "ModelSource | str | os.PathLike[str]") -> "ModelSource":
        """Return the source of a file that needs nothing else, or the source that is given."""
        return model if isinstance(model, ModelSource) else cls(os.fspath(model))

    def __str__(self) -> str:
        return self.model

    @property
    def kind(self) -> str:
        """``demo``, ``architecture``, ``factory``, ``archive`` or ``checkpoint``."""
        if self.model.startswith("demo:"):
            return "demo"
        if self.model in ARCHITECTURES and not Path(self.model).exists():
            return "architecture"
        if _FACTORY.fullmatch(self.model) and not Path(self.model).exists():
            return "factory"
        return _KINDS.get(Path(self.model).suffix.lower(), "checkpoint")

    @property
    def path(self) -> Path | None:
        """The file or folder that ``model`` names, if it names one."""
        if self.kind == "demo":
            return demonstration_checkpoint(self.model.removeprefix("demo:"))
        if self.kind == "factory":
            return code_file(_factory(self.model)[0])
        return None if self.kind == "architecture" else Path(self.model)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides the network."""
        return tuple(path for path in (self.path, self.weights, self.card) if path is not None)

    @property
    def name(self) -> str:
        """What sidecars call it: no folders, which may name people, projects or machines."""
        if self.kind == "factory":
            code, factory = _factory(self.model)
            return f"{Path(code).name}:{factory}"
        return self.model if self.kind == "architecture" else str(self.path and self.path.name)

    def absolute(self) -> "ModelSource":
        """Return the same for processes that work in another folder."""
        model = self.model
        if self.kind == "factory":
            code, factory = _factory(model)
            model = f"{os.path.abspath(code)}:{factory}" if code.endswith(".py") else model
        elif self.kind not in ("demo", "architecture"):
            model = os.path.abspath(model)
        weights, card = (
            None if path is None else Path(os.path.abspath(path)) for path in (self.weights, self.card)
        )
        return replace(self, model=model, weights=weights, card=card)

    def load(self) -> nn.Module:
        """Return the network.

        Returns
        -------
        torch.nn.Module
            In evaluation mode, on the CPU, with ``card``, ``class_names`` and ``references``.

        Raises
        ------
        ValueError
            If a file is missing or damaged, what was given does not fit together, or the user's code
            fails. One line.
        """
        load_one = _LOADERS.get(self.kind)
        if load_one is not None:
            return load_one(self).eval()
        for option, path in (("--weights", self.weights), ("--card", self.card)):
            if path is not None:
                raise ValueError(
                    f"{option} has no meaning for {self.model}, which has its own; leave it out, or name "
                    "code with --model net.py:factory"
                )
        assert self.path is not None
        return load(self.path)

    def fingerprint(self, model: nn.Module) -> str:
        """Return the SHA-256 of a network that came from here.

        That of a checkpoint is of its weights. Other networks may change with their code or card, too:
        theirs is of all these. Of code it covers the file that is named, not what that imports.
        """
        own = fingerprint(model)
        if self.kind in ("demo", "checkpoint"):
            return own
        card = getattr(model, "card", None)
        assert isinstance(card, ModelCard)
        digest = hashlib.sha256(own.encode())
        digest.update(json.dumps(card.to_dict(), sort_keys=True).encode())
        if self.path is not None:
            digest.update(self.path.read_bytes())
        return digest.hexdigest()


def _factory(text: str) -> tuple[str, str]:
    match = _FACTORY.fullmatch(text)
    assert match is not None
    return match["code"], match["name"]


def _load_factory(source: ModelSource) -> nn.Module:
    code, name = _factory(source.model)
    model = made_by(code, name)
    if source.card is not None:
        attach_card(model, read_card(source.card, type(model).__name__), {})
    elif not isinstance(getattr(model, "card", None), ModelCard):
        raise ValueError(
            f"{source.model}: what it takes is not known; say in_shape and class_names in a small file: "
            "--card card.toml, or return pyadx.models.wrap(network, in_shape=..., class_names=...)"
        )
    if source.weights is not None:
        load_weights(model, source.weights, source.name)
    return model


def _load_architecture(source: ModelSource) -> nn.Module:
    if source.weights is None or source.card is None:
        raise ValueError(
            f"{source.model} is an architecture: its weights come with --weights FILE, its grid and classes "
            f"with --card FILE. Trained for trying it out: {' or '.join(f'demo:{n}' for n in _demos())}"
        )
    card = read_card(source.card, source.model)
    model = build(source.model, card.in_shape, card.class_names, card.preprocessing)
    if (card.channels, card.task, card.output) != (1, "classification", None):
        raise ValueError(f"{source.card}: {source.model} takes one channel and tells classes apart")
    load_weights(model, source.weights, source.name)
    return attach_card(model, card, {})


def _demos() -> tuple[str, ...]:
    from pyadx.models.demonstration import NETWORKS

    return NETWORKS


def _load_archive(source: ModelSource) -> nn.Module:
    if source.weights is not None:
        raise ValueError(f"--weights has no meaning for {source.model}, which has its own; leave it out")
    assert source.path is not None
    model, packed = read_archive(source.path, trust=source.trust)
    if source.card is not None:
        return attach_card(model, read_card(source.card, packed.architecture if packed else source.path.stem), {})
    if packed is None:
        raise ValueError(
            f"{source.model}: carries no card; it takes {input_words(model) or 'one tensor'}: say in_shape and "
            "class_names in a small file, --card card.toml, or once and for all with pyadx pack"
        )
    return model


_KINDS = {".pt2": "archive"}
_LOADERS: dict[str, Callable[[ModelSource], nn.Module]] = {
    "archive": _load_archive,
    "factory": _load_factory,
    "architecture": _load_architecture,
}
