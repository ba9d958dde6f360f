"""Spatial sizes after a chain of convolutions and poolings."""

from collections.abc import Sequence

Step = tuple[int, int, int]  # kernel, stride, padding


def spatial_size(in_shape: Sequence[int], steps: Sequence[Step]) -> tuple[int, ...]:
    """Return the size along every axis after ``steps``; 0 if a kernel no longer fits."""
    sizes = []
    for size in in_shape:
        for kernel, stride, padding in steps:
            size = max(0, (size + 2 * padding - kernel) // stride + 1)
        sizes.append(size)
    return tuple(sizes)


def smallest_input(steps: Sequence[Step]) -> int:
    """Return the smallest input length that leaves at least one cell after ``steps``."""
    size = 1
    for kernel, stride, padding in reversed(steps):
        size = max(1, (size - 1) * stride + kernel - 2 * padding)
    return size


def final_size(network: str, in_shape: Sequence[int], steps: Sequence[Step]) -> tuple[int, ...]:
    """Return the size along every axis after ``steps``.

    Parameters
    ----------
    network : str
        Name of the network for the error message.
    in_shape : sequence of int
        Spatial input shape.
    steps : sequence of tuple
        Kernel, stride and padding of each convolution and pooling.

    Raises
    ------
    ValueError
        If nothing is left; the message states the smallest input of ``network``.
    """
    size = spatial_size(in_shape, steps)
    if min(size) < 1:
        least = smallest_input(steps)
        raise ValueError(
            f"{network} needs at least {least}x{least}x{least} voxels, got {'x'.join(map(str, in_shape))}"
        )
    return size
