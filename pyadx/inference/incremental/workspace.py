"""Memory that batches of patches are written into, kept from batch to batch."""

from math import prod

import torch
from torch import Tensor


class WorkspaceFullError(MemoryError):
    """What is asked for does not fit beside what is lent."""


class Workspace:
    """Lends flat buffers and takes them back.

    Fresh memory costs more than much of the work: the pages of a large allocation are made when they
    are first touched, and given back when it is freed.

    Attributes
    ----------
    limit : int or None
        Bytes that are never exceeded, if there is a limit: buffers that nobody has are let go of first.
    exact : bool
        Lend no buffer that is larger than asked for: what is held then is what is needed.
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
        """Memory held, lent or not."""
        return sum(buffer.nbytes for buffer in (*self._free, *self._lent.values()))

    @property
    def lent(self) -> int:
        """Number of buffers that are lent."""
        return len(self._lent)

    def limit_to(self, limit: int) -> None:
        """Set the limit, and let go of free buffers that exceed it, the largest first."""
        self.limit = limit
        self._free.sort(key=Tensor.numel)
        while self._free and self.nbytes > limit:
            self._free.pop()

    def take(self, *shape: int) -> Tensor:
        """Return a contiguous tensor; what it holds is left over from earlier.

        Raises
        ------
        WorkspaceFullError
            If it would exceed the limit.
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
        # One is replaced by the new one, so that the number of buffers stays what is needed.
        self._free = sorted(self._free, key=Tensor.numel)[:-1]
        if self.limit is not None:
            room = self.limit - count * self._dtype.itemsize
            while self._free and self.nbytes > room:
                self._free.pop()
            if self.nbytes > room:
                raise WorkspaceFullError(f"{count} elements beside {self.nbytes} of {self.limit} bytes")
        return torch.empty(count, dtype=self._dtype, device=self._device)

    def give(self, tensor: Tensor) -> None:
        """Take a tensor back that `take` lent; others are ignored."""
        buffer = self._lent.pop(tensor.data_ptr(), None)
        if buffer is not None:
            self._free.append(buffer)

    def clear(self) -> None:
        """Forget all buffers."""
        self._free.clear()
        self._lent.clear()
