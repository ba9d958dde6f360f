"""The figure of an evaluation: the first scan, its regions and its heatmaps by all methods."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.grids import canonical_axes
from pyadx.data.scans import Scan
from pyadx.report.comparison import save_comparison
from pyadx.report.panels import voxel_sizes


def draw_first(
    out: Path,
    title: str,
    scan: Scan,
    regions: Mapping[str, np.ndarray],
    heatmaps: Mapping[str, np.ndarray],
    facts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write ``comparison.png`` and ``.pdf``: sections through the hippocampus, in canonical axes."""
    from nibabel.orientations import apply_orientation

    turn, affine = canonical_axes(scan.affine, scan.data.shape)
    turned = {name: apply_orientation(mask, turn) for name, mask in regions.items()}
    chosen = turned.get("hippocampus", next(iter(turned.values())))
    side = np.argwhere(chosen)
    left = side[side[:, 0] <= np.median(side[:, 0])]
    for kind in ("png", "pdf"):
        save_comparison(
            out / f"comparison.{kind}",
            apply_orientation(scan.data, turn),
            {name: apply_orientation(heat, turn) for name, heat in heatmaps.items()},
            turned,
            title,
            spacing=voxel_sizes(affine),
            at=left.mean(0).round().astype(int).tolist(),
            facts=facts,
        )
