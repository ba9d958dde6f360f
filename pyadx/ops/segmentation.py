"""The chi-square boundary cue on CUDA; the CPU version is in the torch-free core (`pyadx.segmentation`)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pyadx import _ucm
from pyadx.ops.library import describe

_DEVICE = "cuda"
_OUTSIDE = 10
_MOST_BALL_VOXELS = 4095  # the kernel's counters have twelve bits


def chi_square(bins: Tensor, spacing: Sequence[float], radii: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Compare the intensity histograms of the two halves of a ball around every voxel, in 13 directions.

    The 3D form of the boundary cue of P. Arbelaez et al., "Contour Detection and Hierarchical Image
    Segmentation", PAMI 2011.

    Parameters
    ----------
    bins : Tensor
        uint8 ``[D, H, W]`` on a CUDA device: the histogram bin of every voxel, 0 to 9, or 10 outside the
        mask.
    spacing : sequence of float
        Voxel size along each axis, in the unit of the radii.
    radii : sequence of float
        One to ten radii of balls, in rising order.

    Returns
    -------
    strength : Tensor
        float32 ``[D, H, W]``. The chi-square distance of a direction is summed over the radii; this is the
        largest sum of the 13 directions.
    direction : Tensor
        uint8 ``[D, H, W]``: the first direction with that sum.

    Raises
    ------
    TypeError
        If ``bins`` is not a CUDA uint8 tensor of three dimensions.
    ValueError
        If the spacing or the radii do not fit, or the largest ball has more than 4,095 voxels.
    """
    if bins.dtype != torch.uint8 or bins.dim() != 3 or bins.device.type != _DEVICE:
        raise TypeError(
            f"bins must be a CUDA uint8 tensor [D, H, W], got {describe(bins)} on {bins.device}"
        )
    ball = _ucm.ball(list(spacing), list(radii))
    if len(ball["halves"]) > _MOST_BALL_VOXELS:
        raise ValueError(
            f"the largest ball has {len(ball['halves']):,} voxels, but CUDA takes at most "
            f"{_MOST_BALL_VOXELS:,}; use smaller radii or the CPU"
        )
    z, y, x = ball["reach"]
    padded = F.pad(bins, (x, x, y, y, z, z), value=_OUTSIDE)
    steps = torch.from_numpy(ball["steps"]).reshape(-1, 3)
    strides = torch.tensor([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    offsets = (steps * strides).sum(1).to(bins.device, torch.int32)
    halves = torch.from_numpy(ball["halves"]).to(bins.device)
    strength = torch.empty(bins.shape, dtype=torch.float32, device=bins.device)
    direction = torch.empty_like(bins, memory_format=torch.contiguous_format)
    torch.ops.pyadx.chi_square(
        padded.contiguous(), offsets, halves, ball["ends"], ball["reach"], strength, direction
    )
    return strength, direction


@torch.library.register_fake("pyadx::chi_square")
def _(
    bins: Tensor,
    offsets: Tensor,
    halves: Tensor,
    ends: list[int],
    reach: list[int],
    strength: Tensor,
    direction: Tensor,
) -> None:
    return None
