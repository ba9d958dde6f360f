"""Memory for batches of patches, which is reused from batch to batch."""

from math import prod

import torch
from torch import Tensor


class WorkspaceFullError(MemoryError):
    """A buffer does not fit into the limit beside those that are lent."""


class Workspace:
    """Lends flat buffers and takes them back.

    Allocating would cost more than much of the work: the operating system makes the pages of a large block
    when they are first touched, and takes them back when the block is freed.

    Parameters
    ----------
    dtype : torch.dtype
        Dtype of the buffers.
    device : torch.device
        Device of the buffers.

    Attributes
    ----------
    limit : int or None
        Bytes that are never exceeded; None for no limit. Buffers that are not lent are freed first.
    exact : bool
        Lend only buffers of exactly the needed size, so that no memory is held in vain.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        self._device = device
        self._free: list[Tensor] = []
        self._lent: dict[int, Tensor] = {}
        self.limit: int | None = None
        self.exact = False

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, lent or not."""
        return sum(buffer.nbytes for buffer in (*self._free, *self._lent.values()))

    @property
    def lent(self) -> int:
        """Number of buffers that are lent."""
        return len(self._lent)

    def limit_to(self, limit: int) -> None:
        """Set the limit, and free unused buffers until they fit, the largest first."""
        self.limit = limit
        self._free.sort(key=Tensor.numel)
        while self._free and self.nbytes > limit:
            self._free.pop()

    def take(self, *shape: int) -> Tensor:
        """Lend a contiguous tensor, which is not initialised.

        Raises
        ------
        WorkspaceFullError
            If it does not fit into the limit.
        """
        count = prod(shape)
        fitting = [
            buffer
            for buffer in self._free
            if buffer.numel() == count or (buffer.numel() > count and not self.exact)
        ]
        if fitting:
            buffer = min(fitting, key=Tensor.numel)
            self._free = [other for other in self._free if other is not buffer]
        else:
            buffer = self._fresh(count)
        self._lent[buffer.data_ptr()] = buffer
        return buffer[:count].view(shape)

    def _fresh(self, count: int) -> Tensor:
        # The new buffer replaces a free one, so the number of buffers does not grow.
        self._free = sorted(self._free, key=Tensor.numel)[:-1]
        if self.limit is not None:
            room = self.limit - count * self._dtype.itemsize
            while self._free and self.nbytes > room:
                self._free.pop()
            if self.nbytes > room:
                raise WorkspaceFullError(
                    f"{count * self._dtype.itemsize:,} bytes do not fit beside {self.nbytes:,} lent bytes "
                    f"into the limit of {self.limit:,}"
                )
        return torch.empty(count, dtype=self._dtype, device=self._device)

    def give(self, tensor: Tensor) -> None:
        """Take back a tensor that `take` lent; other tensors are ignored."""
        buffer = self._lent.pop(tensor.data_ptr(), None)
        if buffer is not None:
            self._free.append(buffer)

    def clear(self) -> None:
        """Drop all buffers, lent or not."""
        self._free.clear()
        self._lent.clear()
