"""``pyadx convert``: a published Lasagne checkpoint in, a safetensors checkpoint out."""

from pathlib import Path

from pyadx import models
from pyadx.commands.cohorts.manifest import file_sha256
from pyadx.commands.training.setup import parse_shape
from pyadx.files import check_output_file
from pyadx.models.card import Preprocessing
from pyadx.models.lasagne import read_lasagne


def run_convert(
    source: Path,
    out: Path,
    architecture: str,
    classes: str = "NC,AD",
    shape: str = "110",
    spacing: float | None = 2.0,
    flip_filters: bool = False,
    overwrite: bool = False,
) -> str:
    """Convert a checkpoint; return the fingerprint of its weights.

    Raises
    ------
    ValueError
        If the file does not fit the architecture or the output cannot be written.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: a checkpoint is written as .safetensors")
    check_output_file(out, overwrite=overwrite)
    names = tuple(part.strip() for part in classes.split(","))
    preprocessing = Preprocessing("max", spacing)
    model = read_lasagne(source, architecture, parse_shape(shape), names, preprocessing, flip_filters)
    provenance = {
        "converted_from": source.name,
        "file_sha256": file_sha256(source),
        "flip_filters": flip_filters,
    }
    models.save(model, out, trained=True, provenance=provenance)
    return models.fingerprint(model)
