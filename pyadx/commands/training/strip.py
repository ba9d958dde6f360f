"""``pyadx strip``: remove ids and plain hashes of the training scans from a checkpoint."""

from dataclasses import replace
from pathlib import Path

from pyadx.files import check_output_file
from pyadx.models.card import ModelCard
from pyadx.models.checkpoints import copy_with_card
from pyadx.models.training_scans import stripped


def run_strip(source: Path, out: Path, remove: bool = False, overwrite: bool = False) -> ModelCard:
    """Write a copy of a checkpoint whose card has only salted hashes of its training scans.

    Weights and other facts of the provenance are copied unchanged.

    Parameters
    ----------
    source : Path
        Checkpoint.
    out : Path
        ``.safetensors`` file; may be the source if ``overwrite`` is true.
    remove : bool
        Also remove the salted hashes.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    ModelCard
        Card of the new file.

    Raises
    ------
    ValueError
        If the source is not a checkpoint, or the output cannot be written.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: a checkpoint is written as .safetensors")
    check_output_file(out, overwrite=overwrite)

    def without_ids(card: ModelCard) -> ModelCard:
        return replace(card, provenance=stripped(card.provenance, remove=remove))

    return copy_with_card(source, out, without_ids)
