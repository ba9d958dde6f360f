"""References: what regions are filled with, and what gradient methods compare a scan with."""

from pyadx.explainers.references.resolve import fill_of, in_voxels, reference_volume, references_per_scan
from pyadx.explainers.references.words import (
    REGION_WORDS,
    VOLUME_WORDS,
    Reference,
    parse_reference,
    plain_reference,
    write_reference,
)

__all__ = [
    "REGION_WORDS",
    "VOLUME_WORDS",
    "Reference",
    "fill_of",
    "in_voxels",
    "parse_reference",
    "plain_reference",
    "reference_volume",
    "references_per_scan",
    "write_reference",
]
