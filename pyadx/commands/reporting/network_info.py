"""``pyadx info --model``: a network layer by layer, and the predicted speed of its occlusion."""

import torch

from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.scorer import IncrementalScorer
from pyadx.inference.incremental.survey import LayerRow
from pyadx.inference.score import Score
from pyadx.inference.wrappers import unwrapped
from pyadx.models.card import ModelCard
from pyadx.models.sources import ModelSource

_SIDES = (4, 7, 14, 28)  # widths of boxes, voxels


def network_lines(source: ModelSource) -> list[str]:
    """Describe a network: its card, the layers recomputed on boxes, and the predicted gain.

    Parameters
    ----------
    source : ModelSource
        The network.

    Returns
    -------
    list of str
        Lines of text.

    Raises
    ------
    ValueError
        If the network cannot be read, or fails on a scan of its card's shape.
    """
    model = source.load()
    card = model.card
    assert isinstance(card, ModelCard)
    lines = [*_card_lines(source, card), ""]
    volume = torch.rand(card.channels, *card.in_shape, generator=torch.Generator().manual_seed(0))
    try:
        scorer = IncrementalScorer(unwrapped(model), volume, 0, output=card.output, score=_score(card))
    except UntraceableError as error:
        return [*lines, f"Occlusion runs one full forward per region: {error}"]
    except (RuntimeError, IndexError) as error:  # errors of the network itself
        raise ValueError(f"{source}: fails on a scan of {_grid(card)} voxels ({error})") from None
    lines += _table(scorer.layers())
    gains = scorer.typical_gains(_SIDES)
    lines += ["", "predicted gain over full forwards, on boxes of the scan:"]
    lines += [f"  {side:3d} voxels wide: {gain:6.1f}x" for side, gain in gains.items()]
    end = scorer.ending()
    lines.append(
        end.words if end else "Boxes reach the class scores: no layer is recomputed as a whole map."
    )
    return lines


def _score(card: ModelCard) -> Score:
    return "output" if card.task == "regression" else "logit"


def _grid(card: ModelCard) -> str:
    return "x".join(map(str, (card.channels, *card.in_shape)))


def _card_lines(source: ModelSource, card: ModelCard) -> list[str]:
    prepared = card.preprocessing
    spacing = "the scan's own voxels" if prepared.spacing is None else f"{prepared.spacing:g} mm"
    scans = card.statistics.get("scans")
    return [
        f"{source.name}: {card.architecture}, {_grid(card)} of {spacing}, {prepared.orientation}, "
        f"intensity {prepared.intensity}",
        f"{card.task}: {', '.join(card.class_names)}"
        + ("" if card.output is None else f", in output {card.output!r}"),
        f"reference images: {', '.join(card.references) or 'none'}; statistics of "
        + (f"{scans} scans" if scans else "its scans: none"),
    ]


def _table(rows: list[LayerRow]) -> list[str]:
    names = [row.layer or "(the network itself)" for row in rows]
    width = max(map(len, names))
    found = [f"{'layer':{width}}  result               time  recomputed  operations"]
    for name, row in zip(names, rows, strict=True):
        where = "boxes" if row.boxes == 1 else "whole maps" if row.boxes == 0 else "both"
        shape = "x".join(map(str, row.shape))
        found.append(
            f"{name:{width}}  {shape:18} {row.share:6.1%}  {where:10}  {', '.join(row.operations)}"
        )
    return found
