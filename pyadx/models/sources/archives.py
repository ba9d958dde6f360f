"""Archives of ``torch.export``: a graph with its weights and, if pyadx packed it, a card and references."""

import base64
import binascii
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from pyadx.files import replacing
from pyadx.models.card import ModelCard
from pyadx.models.references import stored, widened
from pyadx.models.registry import attach_card
from pyadx.models.sources.archive_checks import checked_archive

_CARD, _REFERENCES = "pyadx.json", "pyadx_references.txt"
aten = torch.ops.aten


def write_archive(program: ExportedProgram, model: nn.Module, path: Path) -> None:
    """Write an exported network with the card and the reference images of the model it was exported from.

    Parameters
    ----------
    program : torch.export.ExportedProgram
        The exported network, with any batch size.
    model : torch.nn.Module
        Network with ``card`` and ``references``.
    path : Path
        File to write, ending in ``.pt2``. It is written under a temporary name and then renamed.

    Raises
    ------
    ValueError
        If the model has no card, or a reference image is invalid.
    """
    from safetensors.torch import save

    card = getattr(model, "card", None)
    if not isinstance(card, ModelCard):
        raise ValueError("the network has no card; attach one with pyadx.models.wrap")
    extra = {_CARD: json.dumps(card.to_dict())}
    if images := stored(getattr(model, "references", {}), card):
        extra[_REFERENCES] = base64.b64encode(save(images)).decode()
    with replacing(path) as (partial,):
        with _quietly():
            held = io.BytesIO()
            torch.export.save(program, held, extra_files=extra)
        partial.write_bytes(held.getbuffer())


def read_archive(path: Path, *, trust: bool = False) -> tuple[nn.Module, ModelCard | None]:
    """Read an archive.

    Parameters
    ----------
    path : Path
        File of `torch.export.save` or `write_archive`.
    trust : bool
        Skip the checks of `pyadx.models.sources.archive_checks`; the file may then run code.

    Returns
    -------
    model : torch.nn.Module
        The network, with modules that take hooks. If the archive was exported with a batch of one, it takes
        any batch where that gives the same outputs.
    card : ModelCard or None
        Its card; ``None`` if the archive was not packed by pyadx.

    Raises
    ------
    ValueError
        If the file is missing or damaged, could run code, or cannot be loaded by this version of torch.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    extra: dict[str, Any] = {}
    if trust:
        source: Any = path
    else:
        source, extra = checked_archive(path)
    found = {_CARD: "", _REFERENCES: ""}
    try:
        with _quietly():
            program = torch.export.load(source, extra_files=found)
            model = _unflattened(program)
    except Exception as error:  # torch.export.load raises many kinds of errors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: torch {torch.__version__} cannot load it ({reason})") from None
    # The check allows only the batch size of the export.
    setattr(model, "check_input_constraints", False)  # noqa: B010 (a field that torch does not type)
    extra = {**found, **extra}
    if not extra[_CARD]:
        return model, None
    card = _card(path, extra[_CARD])
    return attach_card(model, card, _references(path, extra[_REFERENCES], card)), card


def input_words(model: nn.Module) -> str:
    """Return the input shape of an archive, such as ``[1, 1, 96, 96, 96]``; an empty text if unknown."""
    for node in getattr(model, "input_placeholders", ()):
        value = node.meta.get("val")
        if isinstance(value, Tensor):
            return f"[{', '.join(str(n) for n in value.shape)}]"
    return ""


def _card(path: Path, text: str) -> ModelCard:
    try:
        return ModelCard.from_dict(json.loads(text))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _references(path: Path, text: str, card: ModelCard) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not text:
        return {}
    try:
        images = load(base64.b64decode(text, validate=True))
        named = {name.removeprefix("reference."): image for name, image in images.items()}
        return widened(stored(named, card))
    except (SafetensorError, binascii.Error, ValueError) as error:
        raise ValueError(f"{path}: its reference images are damaged ({error})") from None


def _unflattened(program: ExportedProgram) -> nn.Module:
    """Return an exported network as modules that take hooks, and any batch size where that is possible."""
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    shape = inputs[0].meta["val"].shape if len(inputs) == 1 else ()
    if not shape or type(shape[0]) is not int or shape[0] != 1:
        return torch.export.unflatten(program)
    changed = torch.export.unflatten(_with_any_batch(program, inputs[0]))
    setattr(changed, "check_input_constraints", False)  # noqa: B010 (a field that torch does not type)
    example = torch.rand(2, *shape[1:], dtype=inputs[0].meta["val"].dtype)
    try:
        with torch.no_grad():
            both, alone = changed(example), [changed(example[:1]), changed(example[1:])]
    except Exception:  # the graph runs on one scan only
        return torch.export.unflatten(program)
    return changed if _agree(both, alone) else torch.export.unflatten(program)


def _with_any_batch(program: ExportedProgram, scans: torch.fx.Node) -> ExportedProgram:
    """Return the program without the batch of one that ``torch.export`` wrote into its shapes.

    Some operations have a shape as an argument. Its batch becomes -1, for which torch finds the size; for a
    weight that is expanded for every scan it becomes the batch of the input. All other operations work on
    any batch.
    """
    place = list(program.graph.nodes).index(scans)
    program = copy.deepcopy(program)  # its node is found by place, because names may change
    scans = list(program.graph.nodes)[place]
    follows = {scans}
    for node in list(program.graph.nodes):
        if follows & set(node.all_input_nodes):
            follows.add(node)
        if node.op != "call_function" or node.target not in _WITH_SHAPE:
            continue
        shape, sizes = list(node.meta["val"].shape), list(node.args[1])
        if not sizes or sizes[0] != 1 or node.args[0].meta["val"].shape[:1] != (1,):
            continue
        if node in follows:
            batch: Any = -1
        elif node.target is aten.expand.default:
            with program.graph.inserting_before(node):
                batch = program.graph.call_function(aten.sym_size.int, (scans, 0))
            batch.meta = {**node.meta, "val": 1}
        else:
            continue
        left = [n if type(n) is int and n == -1 and node.target is aten.expand.default else m
                for n, m in zip(sizes[1:], shape[1:], strict=True)]  # fmt: skip
        node.args = (node.args[0], [batch, *left], *node.args[2:])
    program.graph_module.recompile()
    return program


def _agree(both: Any, alone: list[Any]) -> bool:
    """Whether two scans give the same outputs in one batch as one by one."""
    joined, single = (pytree.tree_leaves(value) for value in (both, alone[0]))
    second = pytree.tree_leaves(alone[1])
    return len(joined) == len(single) and all(
        not isinstance(one, Tensor)
        or (
            one.shape[:1] == (2,)
            and torch.allclose(one, torch.cat([a, b]), rtol=1e-3, atol=1e-5, equal_nan=True)
        )
        for one, a, b in zip(joined, single, second, strict=True)
    )


_WITH_SHAPE = (aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.expand.default)


@contextmanager
def _quietly() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
