"""The brain that the benchmarks explain: nilearn's MNI152 T1 at 2 mm, on the 110^3 grid of the paper.

``python benchmarks/brain.py`` writes it to ``build/mni152-110.npz``, for machines without nilearn.
"""

from functools import cache
from pathlib import Path

import numpy as np

PREPARED = Path(__file__).resolve().parents[1] / "build" / "mni152-110.npz"


def brain():
    """Return float32 ``[110, 110, 110]`` from 0 to 1, background zero."""
    if PREPARED.is_file():
        with np.load(PREPARED, allow_pickle=False) as file:
            return file["volume"].astype(np.float32) / np.float32(255)
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        raise ImportError(
            f"needs nilearn, or {PREPARED}, which `python benchmarks/brain.py` makes"
        ) from None
    template = load_mni152_template(resolution=2).get_fdata(dtype=np.float32)
    # Resampling leaves values around 1e-17 outside the brain; a masked scan has zeros there.
    template = np.where(template < 1e-6, 0, template)
    volume = np.zeros((110, 110, 110), np.float32)
    volume[5:104, :, 7:102] = template[:, 3:113]
    return volume / volume.max()


@cache
def brain_or_skip():
    """Return the brain, which is read once; skip the benchmark if it is missing."""
    import pytest

    try:
        return brain()
    except ImportError as error:
        pytest.skip(str(error))


if __name__ == "__main__":
    # One byte per voxel, 0.4 MB in all: the same brain to half a grey level.
    volume = brain()
    whole = np.rint(volume * 255)
    PREPARED.parent.mkdir(exist_ok=True)
    np.savez_compressed(PREPARED, volume=np.where(volume > 0, np.maximum(whole, 1), 0).astype(np.uint8))
    print(f"{PREPARED}: {PREPARED.stat().st_size / 1e6:.2f} MB")
