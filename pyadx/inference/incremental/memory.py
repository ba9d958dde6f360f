"""How many regions share a batch, and which maps are cached for them, within the available memory."""

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.inference.incremental.boxes import extents
from pyadx.inference.incremental.lowered_network import LoweredNetwork
from pyadx.inference.incremental.plan import Plan, centred
from pyadx.inference.incremental.program import Program
from pyadx.inference.model_state import evaluation_mode, tensor_float

# Bytes of a batch of patches: a CPU's cache still holds it; a GPU is busy with it.
_BATCH_BYTES = {"cpu": 24 << 20, "cuda": 2 << 30}
_LARGEST_BATCH = 1024
_WHOLE_TOGETHER = 4  # scans per batch: two to three times as fast as one, hardly slower than eight
_WHOLE_BYTES = 1 << 30  # that these scans may take
_SHARE_OF_FREE = 0.5  # of a GPU's free memory: convolutions need workspaces of their own


class BatchMemory:
    """Decides what is cached, and how large batches are.

    Parameters
    ----------
    network : LoweredNetwork
        Chooses the plans.
    program : Program
        Holds the cache and the memory of batches.
    model : torch.nn.Module
        The traced model; it is in evaluation mode while the cache is filled.
    volume : Tensor
        The scan, ``[C, D, H, W]``.
    max_memory : int, optional
        Bytes that cache and batches may take together.
    """

    def __init__(
        self,
        network: LoweredNetwork,
        program: Program,
        model: nn.Module,
        volume: Tensor,
        max_memory: int | None,
    ) -> None:
        self._network, self._program, self._model, self._max_memory = network, program, model, max_memory
        self._device, self._size = volume.device, volume.shape[1:]
        self._budget = float(_BATCH_BYTES.get(volume.device.type, 256 << 20))

    def limit(self, budget: float) -> None:
        """Keep batches within ``budget`` bytes from now on, because larger ones did not fit."""
        self._budget = min(self._budget, budget)

    def prepare(self, boxes: np.ndarray) -> None:
        """Cache the maps that the plans of these regions need, or only check ``max_memory`` if it is given.

        Parameters
        ----------
        boxes : ndarray
            int32 ``[R, 6]``.

        Raises
        ------
        ValueError
            If there is no plan for which the cache and one region fit into ``max_memory``.
        """
        stops, _ = self._network.choose(boxes)
        plans = [self._network.plan(int(stop)) for stop in np.unique(stops)]
        if self._max_memory is not None and plans:
            needs = []
            for stop, plan in zip(np.unique(stops), plans, strict=True):
                sides = np.unique(extents(boxes[stops == stop]), axis=0)
                smallest = centred(sides[[sides.prod(1).argmin()]], self._size)
                region = self._program.bytes_per_region(plan, self._network.grow(smallest, plan.steps))
                needs.append((self._program.cached_bytes(plan), region))
            cache, region = min(needs, key=sum)
            if cache + region > self._max_memory:
                raise ValueError(
                    f"max_memory of {self._max_memory:,} bytes is too little: allow at least "
                    f"{cache + region:,} ({cache:,} for cached activations, {region:,} for one region)"
                )
            return  # `largest_batch` caches plan by plan, as far as they fit together
        with evaluation_mode(self._model), torch.no_grad(), tensor_float(False):
            self._program.cache(plans)

    def largest_batch(self, plan: Plan, per_region: int) -> int:
        """Cache the maps that a plan needs, and return how many of its regions may share a batch.

        Parameters
        ----------
        plan : Plan
            The regions' plan.
        per_region : int
            Bytes that one region of a batch takes.

        Returns
        -------
        int
            0 if the cache and one region do not fit into ``max_memory``.
        """
        cuda, budget = self._device.type == "cuda", self._budget
        with evaluation_mode(self._model), torch.no_grad(), tensor_float(False):
            if self._max_memory is None:
                self._program.cache([plan])
            else:
                if self._program.cached_bytes(plan) + per_region > self._max_memory:
                    return 0
                self._program.cache([plan])
                if self._program.cache_bytes + per_region > self._max_memory:
                    self._program.forget_all_but(plan)
                    self._program.cache([plan])
                left = self._max_memory - self._program.cache_bytes
                self._program.workspace.limit_to(left)
                budget = min(budget, float(left))
        if cuda:
            free = torch.cuda.mem_get_info(self._device)[0] + self._program.workspace.nbytes
            budget = min(budget, _SHARE_OF_FREE * free)
        # Even one whole map fills a CPU's cache, but libraries are faster with several scans at a time.
        together = 1
        if plan.plain and not cuda:
            room = _WHOLE_BYTES if self._max_memory is None else budget
            together = min(_WHOLE_TOGETHER, int(room / per_region))
        return int(np.clip(budget / per_region, max(together, 1), _LARGEST_BATCH))
