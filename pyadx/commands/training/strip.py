"""``pyadx strip``: a checkpoint without ids and plain hashes of the scans it was trained on."""

from dataclasses import replace
from pathlib import Path

from pyadx.files import check_output_file
from pyadx.models.card import ModelCard
from pyadx.models.checkpoints import copy_with_card
from pyadx.models.training_scans import stripped


def run_strip(source: Path, out: Path, remove: bool = False, overwrite: bool = False) -> ModelCard:
    """Write a copy of a checkpoint whose card holds salted hashes of its training scans at most.

    The weights are copied as they are stored. Other facts of the provenance stay as they are.

    Parameters
    ----------
    source : Path
        Checkpoint.
    out : Path
        ``.safetensors`` file; may be the source, with ``overwrite``.
    remove : bool
        Leave no salted hashes either.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    ModelCard
        What the new file says.

    Raises
    ------
    ValueError
        If the source is no checkpoint or the output cannot be written.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: a checkpoint is written as .safetensors")
    check_output_file(out, overwrite=overwrite)

    def without_ids(card: ModelCard) -> ModelCard:
        return replace(card, provenance=stripped(card.provenance, remove=remove))

    return copy_with_card(source, out, without_ids)
