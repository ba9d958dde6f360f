"""The network that the options ``--model``, ``--weights``, ``--card`` and ``--trust`` specify."""

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
from pyadx.models.sources.bundles import read_bundle
from pyadx.models.sources.factories import code_file, made_by
from pyadx.models.sources.hub import hub_file
from pyadx.models.sources.onnx import read_onnx
from pyadx.models.sources.state_dicts import load_weights

_FACTORY = re.compile(r"(?P<code>.+\.py|[A-Za-z_]\w*(?:\.\w+)*):(?P<name>[A-Za-z_][\w.]*)")


@dataclass(frozen=True)
class ModelSource:
    """Where a network comes from; `load` makes it.

    Attributes
    ----------
    model : str
        One of:

        - a checkpoint of `pyadx.models.save`;
        - ``demo:NAME``, a bundled network;
        - ``file.py:factory`` or ``package.module:factory``, a function or class that makes a
          `torch.nn.Module`, or such a module;
        - a ``.pt2`` archive of ``torch.export`` or ``pyadx pack``, or an ``.onnx`` file;
        - the folder of a MONAI bundle;
        - ``hf://owner/name@revision``, one of these files on the Hugging Face Hub;
        - one of `pyadx.models.ARCHITECTURES`.
    weights : Path or None
        File of a state dict, for code, architectures and bundles; see
        `pyadx.models.sources.state_dicts.load_weights`.
    card : Path or None
        TOML file for `pyadx.models.read_card`.
    trust : bool
        Whether archives and bundles may run code that they contain.
    """

    model: str
    weights: Path | None = None
    card: Path | None = None
    trust: bool = False

    @classmethod
    def of(cls, model: "ModelSource | str | os.PathLike[str]") -> "ModelSource":
        """Return a `ModelSource` unchanged, or that of a file that needs no other options."""
        return model if isinstance(model, ModelSource) else cls(os.fspath(model))

    def __str__(self) -> str:
        return self.model

    @property
    def kind(self) -> str:
        """``demo``, ``architecture``, ``factory``, ``archive``, ``onnx``, ``bundle`` or ``checkpoint``."""
        if self.model.startswith("demo:"):
            return "demo"
        if self.model.startswith(_HUB):
            return _KINDS.get(hub_file(self.model).path.suffix, "checkpoint")
        if self.model in ARCHITECTURES and not Path(self.model).exists():
            return "architecture"
        if _FACTORY.fullmatch(self.model) and not Path(self.model).exists():
            return "factory"
        if (Path(self.model) / "configs").is_dir():
            return "bundle"
        return _KINDS.get(Path(self.model).suffix.lower(), "checkpoint")

    @property
    def path(self) -> Path | None:
        """The file or folder that ``model`` names, or ``None``."""
        if self.kind == "demo":
            return demonstration_checkpoint(self.model.removeprefix("demo:"))
        if self.kind == "factory":
            return code_file(_factory(self.model)[0])
        if self.model.startswith(_HUB):
            return hub_file(self.model).path
        return None if self.kind == "architecture" else Path(self.model)

    @property
    def revision(self) -> str | None:
        """The commit of a file on the Hub; ``None`` for other sources."""
        return hub_file(self.model).revision if self.model.startswith(_HUB) else None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that determine the network, except those that its code imports."""
        own = self.path
        if own is not None and self.kind == "bundle":
            parts = [*sorted((own / "configs").iterdir()), own / "models" / "model.pt"]
            return (*parts, *(path for path in (self.weights, self.card) if path is not None))
        return tuple(path for path in (own, self.weights, self.card) if path is not None)

    @property
    def name(self) -> str:
        """Name for sidecars, without folders, because these may reveal people, projects or machines."""
        if self.kind == "factory":
            code, factory = _factory(self.model)
            return f"{Path(code).name}:{factory}"
        if self.kind in ("architecture", "demo") or self.model.startswith(_HUB):
            return self.model
        return str(self.path and self.path.resolve().name)

    def absolute(self) -> "ModelSource":
        """Return the same source with absolute paths, for processes with another working folder."""
        model = self.model
        if self.kind == "factory":
            code, factory = _factory(model)
            model = f"{os.path.abspath(code)}:{factory}" if code.endswith(".py") else model
        elif self.kind not in ("demo", "architecture") and not model.startswith(_HUB):
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
            If a file is missing or damaged, the options do not fit each other, or the user's code fails.
            The message is one line.
        """
        load_one = _LOADERS.get(self.kind)
        if load_one is not None:
            return load_one(self).eval()
        for option, path in (("--weights", self.weights), ("--card", self.card)):
            if path is not None:
                raise ValueError(
                    f"{option} has no meaning for {self.model}, which has its own; leave it out, or use "
                    "code of yours with --model net.py:factory"
                )
        assert self.path is not None
        return load(self.path)

    def fingerprint(self, model: nn.Module) -> str:
        """Return the SHA-256 of a network that `load` made, in hexadecimal.

        For a checkpoint it is that of the weights. For other sources it also covers the card and the files
        that determine the network, but no files that the code imports.

        Parameters
        ----------
        model : torch.nn.Module
            The network.
        """
        own = fingerprint(model)
        if self.kind in ("demo", "checkpoint"):
            return own
        card = getattr(model, "card", None)
        assert isinstance(card, ModelCard)
        digest = hashlib.sha256(own.encode())
        digest.update(json.dumps(card.to_dict(), sort_keys=True).encode())
        for path in self.files:
            if path not in (self.weights, self.card) and path.suffix != ".pt":
                digest.update(path.read_bytes())
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
            f"{source.model}: its input is not known; give in_shape and class_names in a small file, "
            "--card card.toml, or return pyadx.models.wrap(network, in_shape=..., class_names=...)"
        )
    if source.weights is not None:
        load_weights(model, source.weights, source.name)
    return model


def _load_architecture(source: ModelSource) -> nn.Module:
    if source.weights is None or source.card is None:
        raise ValueError(
            f"{source.model} is an architecture without weights; give them with --weights, and its grid "
            f"and classes with --card. To try a trained one: {' or '.join(f'demo:{n}' for n in _demos())}"
        )
    card = read_card(source.card, source.model)
    model = build(source.model, card.in_shape, card.class_names, card.preprocessing)
    if (card.channels, card.task, card.output) != (1, "classification", None):
        raise ValueError(
            f"{source.card}: {source.model} takes one channel and is a classifier with a single output; "
            "leave channels, task and output out"
        )
    load_weights(model, source.weights, source.name)
    return attach_card(model, card, {})


def _demos() -> tuple[str, ...]:
    from pyadx.models.demonstration import NETWORKS

    return NETWORKS


def _load_onnx(source: ModelSource) -> nn.Module:
    assert source.path is not None
    if source.weights is not None:
        raise ValueError(f"--weights has no meaning for {source.model}, which has its own; leave it out")
    if source.card is None:
        raise ValueError(
            f"{source.model}: carries no card; give in_shape and class_names in a small file, "
            "--card card.toml"
        )
    return attach_card(read_onnx(source.path), read_card(source.card, source.path.stem), {})


def _load_bundle(source: ModelSource) -> nn.Module:
    assert source.path is not None
    return read_bundle(source.path, source.card, source.weights, source.trust)


def _load_archive(source: ModelSource) -> nn.Module:
    if source.weights is not None:
        raise ValueError(f"--weights has no meaning for {source.model}, which has its own; leave it out")
    assert source.path is not None
    model, packed = read_archive(source.path, trust=source.trust)
    if source.card is not None:
        return attach_card(
            model, read_card(source.card, packed.architecture if packed else source.path.stem), {}
        )
    if packed is None:
        raise ValueError(
            f"{source.model}: carries no card; it takes {input_words(model) or 'one tensor'}. Give "
            "in_shape and class_names in a small file, --card card.toml, or put a card into the archive "
            "with pyadx pack"
        )
    return model


_HUB = "hf://"
_KINDS = {".pt2": "archive", ".onnx": "onnx"}
_LOADERS: dict[str, Callable[[ModelSource], nn.Module]] = {
    "archive": _load_archive,
    "bundle": _load_bundle,
    "factory": _load_factory,
    "onnx": _load_onnx,
    "architecture": _load_architecture,
}
