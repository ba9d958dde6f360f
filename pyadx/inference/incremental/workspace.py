"""Memory that batches of patches are written into, kept from batch to batch."""

import torch
from torch import Tensor


class Workspace:
    """Lends flat buffers and takes them back.

    Fresh memory costs more than much of the work: the pages of a large allocation are made when they
    are first touched, and given back when it is freed.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        self._device = device
        self._free: list[Tensor] = []
        self._lent: dict[int, Tensor] = {}

    @property
    def nbytes(self) -> int:
        """Memory held, lent or not."""
        buffers = [*self._free, *self._lent.values()]
        return sum(buffer.numel() * buffer.element_size() for buffer in buffers)

    def take(self, *shape: int) -> Tensor:
        """Return a contiguous tensor; what it holds is left over from earlier."""
        count = 1
        for length in shape:
            count *= length
        fitting = [buffer for buffer in self._free if buffer.numel() >= count]
        if fitting:
            buffer = min(fitting, key=Tensor.numel)
            self._free = [other for other in self._free if other is not buffer]
        else:
            if self._free:  # replaced by the new one, so that the number of buffers stays what is needed
                largest = max(self._free, key=Tensor.numel)
                self._free = [other for other in self._free if other is not largest]
                del largest
            buffer = torch.empty(count, dtype=self._dtype, device=self._device)
        self._lent[buffer.data_ptr()] = buffer
        return buffer[:count].view(shape)

    def give(self, tensor: Tensor) -> None:
        """Take a tensor back that `take` lent; others are ignored."""
        buffer = self._lent.pop(tensor.data_ptr(), None)
        if buffer is not None:
            self._free.append(buffer)

    def clear(self) -> None:
        """Forget all buffers."""
        self._free.clear()
        self._lent.clear()
