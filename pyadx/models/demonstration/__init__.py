"""Networks trained on the synthetic cohort, kept in the package for the demo and for trying things out.

They tell a synthetic disease that was planted into the MNI152 template. They know nothing about patients.
"""

from pathlib import Path

NETWORKS = ("vggnet", "resnet-shallow-gap")


def demonstration_checkpoint(architecture: str) -> Path:
    """Return the file of a network trained on the synthetic cohort; `pyadx.models.load` reads it.

    Parameters
    ----------
    architecture : {"vggnet", "resnet-shallow-gap"}
        3D-VGGNet at 110^3 and 2 mm, or 3D-ResNet-Shallow-GAP at 55^3 and 4 mm. How each was trained, and
        on which scans, is in its card's provenance.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if architecture not in NETWORKS:
        raise ValueError(f"there are demonstration networks {' and '.join(NETWORKS)}, not {architecture!r}")
    return Path(__file__).with_name(f"{architecture}.safetensors")
