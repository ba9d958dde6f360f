"""The fast scorer: recomputes only what a filled region changes, with the result of a full forward."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.batching import BatchSize, in_batches
from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.boxes import extents
from pyadx.inference.incremental.program import Plan, Program
from pyadx.inference.incremental.trace import Trace, trace
from pyadx.inference.model_state import evaluation_mode, tensor_float
from pyadx.inference.regions import Regions
from pyadx.inference.score import Outputs, Score, Target, check_outputs
from pyadx.inference.scorer import Scorer
from pyadx.inference.watch import OutputWatch
from pyadx.ops.numbers import whole_number

Precision = Literal["float32", "tf32", "bf16"]

_SAMPLE = 512  # regions that the plan is made from
# Where a batch of patches stays in the cache of a CPU, or fills a GPU.
_BATCH_BYTES = {"cpu": 24 << 20, "cuda": 2 << 30}
_LARGEST_BATCH = 1024
_SHARE_OF_FREE = 0.5  # of a GPU's memory: convolutions want room for workspaces of their own


class IncrementalScorer(Scorer):
    """Scores regions of one scan by recomputing, layer by layer, only the cells that they change.

    The activations of the unperturbed scan are cached once. A filled box changes each layer inside a
    box that grows from layer to layer; the changes are linear through convolutions and need the cache
    at ReLUs and poolings only. From the layer on where boxes stop paying, or at the first operation
    that is not local, whole maps take over. Scores equal those of `FullScorer` up to rounding, and do
    not depend on which regions share a batch. The idea for 2D images: Nakandala et al.,
    "Incremental and Approximate Inference for Faster Occlusion-Based Deep CNN Explanations",
    SIGMOD 2019.

    Parameters
    ----------
    model, volume, target, fill, score, outputs, batch_size, progress, signed, watch
        As in `pyadx.inference.scorer.Scorer`.
    precision : {"float32", "tf32", "bf16"}
        What convolutions of changes compute in. ``tf32`` (CUDA only) and ``bf16`` round the changes,
        not the activations; sums are kept in float32. float64 models stay in float64.
    max_memory : int, optional
        Bytes that the cache and the batches may take together.
    tracer : callable
        Gives the model's trace: `pyadx.inference.incremental.trace.trace`, or a `KeptTrace` that several
        scans share.

    Raises
    ------
    UntraceableError
        A ``ValueError``: ``torch.export`` cannot trace the model; the message names the operation.
    TypeError, ValueError
        If the volume, target or an option does not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        volume: Tensor,
        target: Target = None,
        *,
        fill: ops.Fill = 0.0,
        score: Score = "probability",
        outputs: Outputs = "logits",
        batch_size: BatchSize = "auto",
        progress: bool = False,
        signed: bool = False,
        watch: OutputWatch | None = None,
        precision: Precision = "float32",
        max_memory: int | None = None,
        tracer: Callable[[nn.Module, Tensor], Trace] = trace,
    ) -> None:
        check_precision(precision)
        max_memory = check_max_memory(max_memory)
        super().__init__(
            model,
            volume,
            target,
            fill=fill,
            score=score,
            outputs=outputs,
            batch_size=batch_size,
            progress=progress,
            signed=signed,
            watch=watch,
        )
        if self.volume.dtype not in (torch.float32, torch.float64):
            raise UntraceableError(f"incremental inference takes float32 or float64, not {volume.dtype}")
        if precision == "tf32" and self.volume.device.type != "cuda":
            raise ValueError("precision='tf32' needs a CUDA device")
        self.precision = precision
        self.max_memory = max_memory
        wanted = torch.bfloat16 if precision == "bf16" else self.volume.dtype
        with evaluation_mode(model), torch.no_grad():
            difference = self.fill.expand_as(self.volume) - self.volume
            self._program = Program(tracer(model, self.volume), self.volume, difference, wanted)
        self._plan: Plan | None = None
        self._planned = np.zeros(3)
        self._batch = 1

    @property
    def memory(self) -> dict[str, int]:
        """Bytes taken by the cached activations, and by the batches."""
        return {"cache": self._program.cache_bytes, "batches": self._program.workspace_bytes}

    def plan(self, boxes: np.ndarray) -> Plan:
        """Decide how far boxes go for regions like these, ``[R, 6]``, and how many share a batch.

        A plan is kept until larger regions come.

        Raises
        ------
        ValueError
            If cache and one region do not fit into ``max_memory``.
        """
        largest = extents(boxes).max(0, initial=1)
        if self._plan is not None and (largest <= self._planned).all():
            return self._plan
        self._planned = np.maximum(self._planned, largest)
        step = max(1, len(boxes) // _SAMPLE)
        sample = boxes[::step] if len(boxes) else np.array([[0, 0, 0, 1, 1, 1]], np.int32)
        with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
            self._plan = self._program.plan(sample)
        per_region = self._program.bytes_per_region(self._plan, sample)
        budget = float(_BATCH_BYTES.get(self.volume.device.type, 256 << 20))
        if self.volume.device.type == "cuda":
            budget = min(budget, _SHARE_OF_FREE * torch.cuda.mem_get_info(self.volume.device)[0])
        if self.max_memory is not None:
            left = self.max_memory - self._program.cache_bytes
            if left < per_region:
                raise ValueError(
                    f"max_memory of {self.max_memory:,} bytes is too little: the cached activations "
                    f"take {self._program.cache_bytes:,} and one region {int(per_region):,}"
                )
            budget = min(budget, float(left))
        self._batch = int(np.clip(budget / per_region, 1, _LARGEST_BATCH))
        return self._plan

    def _prepare(self, boxes: np.ndarray) -> None:
        self.plan(boxes)

    def _score_chunk(self, regions: Regions, advance: Callable[[int], None]) -> Tensor:
        boxes, segments = regions.boxes, regions.segments
        plan = self._plan
        assert plan is not None
        grown = self._program.grow(boxes, plan.steps)
        changes = self._outputs.new_empty(len(boxes))

        def run(start: int, stop: int) -> None:
            outputs, relative = self._program.run(plan, grown, start, stop, segments)
            moved = outputs.double()
            after = self._outputs.double() + moved if relative else moved
            changes[start:stop] = self._change(check_outputs(after, stop - start, self.output_kind))

        size = self._batch if self.batch_size == "auto" else self.batch_size
        with tensor_float(self.precision == "tf32"):
            in_batches(len(boxes), size, self.volume.device, run, advance)
        return changes


def check_precision(precision: str) -> None:
    """Raise ``ValueError`` unless ``precision`` is a known kind."""
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}")


def check_max_memory(max_memory: int | None) -> int | None:
    """Return a positive number of bytes, or None; raise ``ValueError`` where it is neither."""
    if max_memory is None:
        return None
    number = whole_number(max_memory)
    if number is None or number < 1:
        raise ValueError(f"max_memory must be a positive number of bytes, got {max_memory!r}")
    return number
