"""``pyadx convert``: turn a Lasagne checkpoint, or one of pyadx, into a safetensors checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from pyadx import models
from pyadx.commands.cohorts.manifest import file_sha256
from pyadx.commands.training.setup import parse_shape
from pyadx.commands.training.statistics import give_statistics
from pyadx.data.reference_scans import read_reference
from pyadx.files import check_output_file
from pyadx.models.card import ModelCard, Preprocessing
from pyadx.models.checkpoints import copy_with_card
from pyadx.models.lasagne import read_lasagne


@dataclass(frozen=True)
class Published:
    """Options that a published Lasagne file does not contain; ``None`` for options not given."""

    arch: str | None = None
    classes: str | None = None
    shape: str | None = None
    spacing: float | None = None
    flip_filters: bool | None = None


def run_convert(
    source: Path,
    out: Path,
    published: Published,
    references: Sequence[str] = (),
    overwrite: bool = False,
    statistics: Path | None = None,
    progress: bool = False,
) -> ModelCard:
    """Convert a checkpoint, and add reference images and statistics to it.

    Parameters
    ----------
    source : Path
        ``.npz`` of the paper's authors, or a checkpoint for `pyadx.models.load`. Weights, provenance and
        other references of a checkpoint are copied unchanged.
    out : Path
        ``.safetensors`` file; may be the source if ``overwrite`` is true.
    published : Published
        For an ``.npz`` only. ``arch`` is required. Defaults are the classes NC and AD, and a grid of 110
        voxels of 2 mm.
    references : sequence of str
        ``FILE``, a scan for the first class, or ``CLASS=FILE``.
    overwrite : bool
        Replace an existing file.
    statistics : Path, optional
        Cohort whose scans are like those that a checkpoint was trained on
        (`pyadx.commands.training.statistics`).
    progress : bool
        Show a bar while its scans are read.

    Returns
    -------
    ModelCard
        Card of the new file.

    Raises
    ------
    ValueError
        If the file does not fit the architecture, a reference does not fit the network
        (`pyadx.data.read_reference`), or the output cannot be written.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: a checkpoint is written as .safetensors")
    check_output_file(out, overwrite=overwrite)
    if source.suffix.lower() == ".npz":
        if statistics is not None:
            raise ValueError("--statistics takes a checkpoint of pyadx: convert the .npz first")
        return _from_lasagne(source, out, published, references)
    _refuse_options(source, published)
    if source.suffix == ".safetensors" and not references and statistics is None:
        raise ValueError(
            f"{source}: is a checkpoint already; --reference FILE adds a reference image, --statistics "
            "COHORT the statistics of its scans"
        )
    model = models.load(source)
    card = model.card
    assert isinstance(card, ModelCard)
    images, facts = _read_references(references, card)
    if images:
        models.with_references(model, {**model.references, **images}, {**card.references, **facts})  # type: ignore[dict-item]
    given = {} if statistics is None else give_statistics(model, statistics, progress)
    changed = model.card
    assert isinstance(changed, ModelCard)
    return copy_with_card(source, out, lambda old: changed, {**images, **given})


def _from_lasagne(source: Path, out: Path, published: Published, references: Sequence[str]) -> ModelCard:
    if published.arch is None:
        raise ValueError(f"{source}: does not name its architecture; give --arch, such as --arch vggnet")
    names = tuple(part.strip() for part in (published.classes or "NC,AD").split(","))
    preprocessing = Preprocessing("max", 2.0 if published.spacing is None else published.spacing)
    shape, flip = parse_shape(published.shape or "110"), bool(published.flip_filters)
    model = read_lasagne(source, published.arch, shape, names, preprocessing, flip)
    card = model.card
    assert isinstance(card, ModelCard)
    models.with_references(model, *_read_references(references, card))
    provenance = {
        "converted_from": source.name,
        "file_sha256": file_sha256(source),
        "flip_filters": flip,
    }
    models.save(model, out, trained=True, provenance=provenance)
    card = model.card
    assert isinstance(card, ModelCard)
    return card


def _refuse_options(source: Path, published: Published) -> None:
    given = [field.name for field in fields(published) if getattr(published, field.name) is not None]
    if given:
        raise ValueError(
            f"{source}: --{given[0].replace('_', '-')} is for a published .npz; a checkpoint of pyadx "
            "already holds it"
        )


def _read_references(
    references: Sequence[str], card: ModelCard
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    images: dict[str, Tensor] = {}
    facts: dict[str, dict[str, Any]] = {}
    for text in references:
        name, file = _class_and_file(text, card)
        if name in images:
            raise ValueError(f"--reference {text}: class {name} has two references")
        images[name] = read_reference(file, card)
        facts[name] = {
            "file": file.name,
            "file_sha256": file_sha256(file),
            "matching": "none: prepared as scans are",
        }
    return images, facts


def _class_and_file(text: str, card: ModelCard) -> tuple[str, Path]:
    """Parse ``CLASS=FILE`` or ``FILE``; a file's name may also contain ``=``."""
    name, sign, rest = text.partition("=")
    if sign and name in card.class_names:
        return name, Path(rest)
    if sign and not Path(text).exists():
        raise ValueError(
            f"--reference {text}: {name!r} is not a class of the network; its classes are "
            f"{', '.join(card.class_names)}"
        )
    return card.class_names[0], Path(text)
