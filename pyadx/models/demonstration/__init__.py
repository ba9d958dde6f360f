"""Networks trained on the synthetic cohort, bundled for the demo and for first experiments.

They recognise a synthetic disease that was planted into the MNI152 template. They say nothing about
patients.
"""

from pathlib import Path

NETWORKS = ("vggnet", "resnet-shallow-gap")


def demonstration_checkpoint(architecture: str) -> Path:
    """Return the checkpoint of a bundled network; `pyadx.models.load` reads it.

    Parameters
    ----------
    architecture : {"vggnet", "resnet-shallow-gap"}
        3D-VGGNet on 110^3 voxels of 2 mm, or 3D-ResNet-Shallow-GAP on 55^3 voxels of 4 mm. The provenance
        in its card says how it was trained, and on which scans.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if architecture not in NETWORKS:
        raise ValueError(f"no demonstration network {architecture!r}; there are {' and '.join(NETWORKS)}")
    return Path(__file__).with_name(f"{architecture}.safetensors")
