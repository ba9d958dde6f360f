"""Turns the name of a reference into values for one scan."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.explainers.references.regionwise import Harmonic, RegionMean
from pyadx.explainers.references.tissue import VOXELS, brain_mean, local_mean, matched
from pyadx.explainers.references.words import LOCAL_MM, Reference, file_of
from pyadx.inference.region_fill import RegionFill
from pyadx.inference.wrappers import described
from pyadx.ops.arrays import plain_tensor
from pyadx.segmentation.checks import as_spacing

Spacing = float | Sequence[float] | None


def fill_of(
    reference: Reference,
    volume: Tensor,
    model: nn.Module,
    *,
    spacing: Spacing = None,
    given: Tensor | None = None,
) -> ops.Fill | RegionFill:
    """Return what regions of one scan are filled with.

    Parameters
    ----------
    reference : number, sequence, array, Tensor or str
        As `pyadx.explainers.references.plain_reference` returns it.
    volume : Tensor
        The scan ``[C, D, H, W]``, as it enters the model.
    model : torch.nn.Module
        Needed for ``controls``: its attribute ``references`` holds the mean images of its training classes,
        and the first class is taken as the controls.
    spacing : float or sequence of float, optional
        Voxel size in mm, for ``local``. Without it voxels of 2 mm are assumed.
    given : Tensor, optional
        The volume of ``scan:FILE``, ``[D, H, W]`` or ``[C, D, H, W]`` on the scan's voxel grid. Explainers
        do not read files themselves.

    Returns
    -------
    number, sequence, array, Tensor or RegionFill
        Values that do not depend on the region, or a `RegionFill`.

    Raises
    ------
    ValueError
        If the network has no image of controls, the volume of a file is missing, or the reference does not
        fit the scan.
    """
    if not isinstance(reference, str):
        return reference
    if reference == "harmonic":
        return Harmonic(volume)
    if reference == "region-mean":
        return RegionMean(volume)
    word, _, rest = reference.partition(":")
    if word == "region-mean":
        return RegionMean(volume, reference_volume(rest, volume, model, spacing=spacing, given=given))
    return reference_volume(reference, volume, model, spacing=spacing, given=given)


def reference_volume(
    reference: Any,
    volume: Tensor,
    model: nn.Module,
    *,
    spacing: Spacing = None,
    given: Tensor | None = None,
) -> Tensor:
    """Return a reference as a volume of the scan's shape ``[C, D, H, W]``.

    Takes the parameters of `fill_of` and raises the same errors. The reference must not depend on regions.
    """
    if not isinstance(reference, str):
        return ops.fill_tensor(reference, volume).expand_as(volume)
    word, _, rest = reference.partition(":")
    if word == "local":
        return local_mean(volume, in_voxels(float(rest) if rest else LOCAL_MM, spacing))
    if word == "mean":
        return brain_mean(volume)
    if word == "controls":
        means = matched(controls_of(model), volume, "the network's mean of controls")
        return torch.lerp(volume, means.to(volume), float(rest)) if rest else means
    if given is None:
        raise ValueError(f"{reference!r} names a file; pass its volume with reference=")
    return matched(given, volume, f"the reference {file_of(reference)}")


def in_voxels(millimetres: float, spacing: Spacing) -> float | list[float]:
    """Convert a length in mm to voxels along each axis; voxels of 2 mm are assumed without ``spacing``."""
    if spacing is None:
        return VOXELS * millimetres / LOCAL_MM
    return [millimetres / size for size in as_spacing(spacing)]


def controls_of(model: nn.Module) -> Tensor:
    """Return the mean image of a network's controls, its first class: ``[D, H, W]`` or ``[C, D, H, W]``.

    Raises
    ------
    ValueError
        If the network carries no such image.
    """
    owner = described(model, "references")
    means = getattr(owner, "references", None) or {}
    names = getattr(described(model, "class_names"), "class_names", None)
    first = names[0] if names else next(iter(means), None)
    if first not in means:
        raise ValueError(
            "the network carries no mean image of its controls (its first class): pyadx train stores one, "
            "pyadx convert --reference FILE adds one, and fill=scan:FILE takes a scan of your own"
        )
    return torch.as_tensor(means[first])


def references_per_scan(given: Any, reference: Any, volume: Tensor) -> Sequence[Tensor | None]:
    """Return the volume of the file that a reference names, for each scan of a batch; None without a file.

    Parameters
    ----------
    given : array or Tensor, optional
        The volume: ``[D, H, W]`` for all scans, or ``[B, D, H, W]``. If scans have several channels:
        ``[C, D, H, W]`` or ``[B, C, D, H, W]``.
    reference : number, array or str
        The method's option that holds the reference.
    volume : Tensor
        ``[B, C, D, H, W]``.

    Raises
    ------
    ValueError
        If the volume of a named file is missing, a volume is given although no file is named, or its shape
        does not fit.
    """
    scans, several = volume.shape[0], volume.shape[1] > 1
    shape = tuple(volume.shape[1:] if several else volume.shape[2:])
    named = file_of(reference)
    if given is None:
        if named is not None:
            raise ValueError(
                f"{reference!r} names a file, which explainers do not read: hand its volume over with "
                "reference= (pyadx.data.read_reference resamples it to the network's grid)"
            )
        return [None] * scans
    if named is None:
        raise ValueError(
            "reference= only takes the volume that scan:FILE names; pass any other as fill= or baseline="
        )
    tensor = plain_tensor("reference", torch.as_tensor(given))
    if tuple(tensor.shape) == shape:
        tensor = tensor.expand(scans, *shape)
    if tuple(tensor.shape) != (scans, *shape):
        raise ValueError(
            f"reference has shape {tuple(tensor.shape)}, the scans {shape}; "
            "give one for all scans, or one per scan"
        )
    return list(tensor)
