"""The fast scorer: recomputes only what a filled region changes, with the result of a full forward."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, fx, nn

from pyadx import ops
from pyadx.inference.batch.trace import place_in_trace, state_of_trace
from pyadx.inference.batching import BatchSize, in_batches
from pyadx.inference.errors import UntraceableError
from pyadx.inference.full import filled
from pyadx.inference.incremental.boxes import by_size, extents
from pyadx.inference.incremental.input_changes import InputChanges, RegionChanges, VolumeChanges
from pyadx.inference.incremental.lowered_network import LoweredNetwork
from pyadx.inference.incremental.moving import MovingProgram
from pyadx.inference.incremental.plan import Plan, centred
from pyadx.inference.incremental.survey import Ending, LayerRow, ending, layer_rows, typical_boxes
from pyadx.inference.incremental.trace import Trace, trace
from pyadx.inference.model_state import evaluation_mode, tensor_float
from pyadx.inference.outputs import Output, check_outputs
from pyadx.inference.region_fill import RegionFill
from pyadx.inference.regions import Regions
from pyadx.inference.score import Outputs, Score, Target
from pyadx.inference.scorer import Scorer
from pyadx.inference.watch import OutputWatch
from pyadx.ops.numbers import whole_number

Precision = Literal["float32", "tf32", "bf16"]

# Where a batch of patches stays in the cache of a CPU, or fills a GPU.
_BATCH_BYTES = {"cpu": 24 << 20, "cuda": 2 << 30}
_LARGEST_BATCH = 1024
_TYPICAL = (7,)  # voxels
_LEAST_GAIN, _LEAST_GAIN_WHOLE = 1.3, 2.0  # predicted
_WHOLE_TOGETHER = 4  # scans: two to three times as fast as one by one, and hardly slower than eight
_WHOLE_BYTES = 1 << 30  # that they may take
_MOST_KEPT = 2 << 30  # of cached maps that are kept twice
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
    model, volume, target, fill, score, outputs, batch_size, progress, signed, watch, output, forward_args
        As in `pyadx.inference.scorer.Scorer`.
    precision : {"float32", "tf32", "bf16"}
        What convolutions of changes compute in. ``tf32`` (CUDA only) and ``bf16`` round the changes,
        not the activations; sums are kept in float32. float64 models stay in float64.
    max_memory : int, optional
        Bytes that the cache and the batches may take together. Regions that do not fit are scored by
        forwards of the whole model, one scan at a time, which this does not count.
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
        fill: ops.Fill | RegionFill = 0.0,
        score: Score = "probability",
        outputs: Outputs = "logits",
        batch_size: BatchSize = "auto",
        progress: bool = False,
        signed: bool = False,
        watch: OutputWatch | None = None,
        output: Output = None,
        forward_args: Any = None,
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
            output=output,
            forward_args=forward_args,
        )
        if self.volume.dtype not in (torch.float32, torch.float64):
            raise UntraceableError(f"incremental inference takes float32 or float64, not {volume.dtype}")
        if precision == "tf32" and self.volume.device.type != "cuda":
            raise ValueError("precision='tf32' needs a CUDA device")
        self.precision = precision
        self.max_memory = max_memory
        wanted = torch.bfloat16 if precision == "bf16" else self.volume.dtype
        with evaluation_mode(self.model), torch.no_grad():
            changes = self._input_changes()
            traced = tracer(self._network, self.volume)
            self.lowered = LoweredNetwork.of(traced)
            self.program = MovingProgram(self.lowered, self.volume, changes, wanted)
        self.settle_batches(state_of_trace(traced.nodes, traced.input, traced.output), place_in_trace)
        self._budget = float(_BATCH_BYTES.get(self.volume.device.type, 256 << 20))

    def _input_changes(self) -> InputChanges:
        if isinstance(self.fill, RegionFill):
            return RegionChanges(self.fill, self.volume)
        return VolumeChanges(self.fill, self.volume)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that cached activations and batches take."""
        return {"cache": self.program.cache_bytes, "batches": self.program.workspace.nbytes}

    def layers(self) -> list[LayerRow]:
        """Return the network's layers, and which of them are recomputed on boxes."""
        return layer_rows(self.lowered)

    def ending(self, boxes: np.ndarray | None = None) -> Ending | None:
        """Return what makes whole maps necessary for regions like these, or None where boxes do."""
        shape = tuple(self.volume.shape[1:])
        return ending(self.lowered, typical_boxes(shape, _TYPICAL) if boxes is None else boxes)

    def typical_gains(self, sides: Sequence[int]) -> dict[int, float]:
        """Predict how many times faster than whole forwards cubes of these sides are."""
        gains = self.gains(typical_boxes(tuple(self.volume.shape[1:]), sides))
        return dict(zip(sides, gains.tolist(), strict=True))

    def gain(self, boxes: np.ndarray) -> float:
        """Predict how many times faster regions like these, ``[R, 6]``, are than whole forwards."""
        if not len(boxes):
            boxes = np.array([[0, 0, 0, 1, 1, 1]], np.int32)
        return float(1 / (1 / self.gains(boxes)).mean())

    def gains(self, boxes: np.ndarray) -> np.ndarray:
        """Predict for every region, ``[R, 6]``, how many times faster it is than a whole forward."""
        return self.lowered.choose(boxes)[1]

    def pays(self, boxes: np.ndarray) -> np.ndarray:
        """Return for every region, ``[R, 6]``, whether it is predicted to be faster on boxes, bool ``[R]``.

        Predictions may be too high: by a fifth where boxes reach the class scores, by half where whole maps
        are left, whose time depends on the library.
        """
        stops, gains = self.lowered.choose(boxes)
        whole = np.array([bool(self.lowered.plan(int(stop)).plain) for stop in stops], bool)
        return gains >= np.where(whole, _LEAST_GAIN_WHOLE, _LEAST_GAIN)

    def _prepare(self, boxes: np.ndarray) -> None:
        """Cache what the plans of these regions compare with.

        Raises
        ------
        ValueError
            If cache and one region do not fit into ``max_memory`` for any of them.
        """
        stops, _ = self.lowered.choose(boxes)
        plans = [self.lowered.plan(int(stop)) for stop in np.unique(stops)]
        if self.max_memory is not None and plans:
            needs = []
            for stop, plan in zip(np.unique(stops), plans, strict=True):
                sides = np.unique(extents(boxes[stops == stop]), axis=0)
                smallest = centred(sides[[sides.prod(1).argmin()]], self.volume.shape[1:])
                region = self.program.bytes_per_region(plan, self.lowered.grow(smallest, plan.steps))
                needs.append((self.program.cached_bytes(plan), region))
            cache, region = min(needs, key=sum)
            if cache + region > self.max_memory:
                raise ValueError(
                    f"max_memory of {self.max_memory:,} bytes is too little: the cached activations "
                    f"take {cache:,} and one region {region:,}"
                )
            return  # cached one by one, as far as they fit together
        with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
            self.program.cache(plans)

    def _score_chunk(self, regions: Regions, advance: Callable[[int], None]) -> Tensor:
        """Score regions of one plan and about one size together."""
        stops, _ = self.lowered.choose(regions.boxes)
        changes = self._outputs.new_empty(len(stops))
        for stop in np.unique(stops):
            own, plan = np.flatnonzero(stops == stop), self.lowered.plan(int(stop))
            for part in by_size(regions.boxes[own]):
                members = own[part]
                index = torch.from_numpy(members).to(changes.device)
                changes[index] = self._score_group(plan, regions.part(members), advance)
        return changes

    def _score_group(self, plan: Plan, regions: Regions, advance: Callable[[int], None]) -> Tensor:
        boxes = regions.boxes
        grown = self.lowered.grow(boxes, plan.steps)
        per_region = self.program.bytes_per_region(plan, grown)
        most = self._largest_batch(plan, per_region)
        # Looked at once, behind the last batch: a GPU would stop for every look.
        after = self._outputs.new_empty(len(boxes), self._outputs.shape[1], dtype=torch.float64)
        doubtful = torch.zeros(len(boxes), dtype=torch.bool, device=after.device)

        def run(start: int, stop: int) -> None:
            after[start:stop], doubtful[start:stop] = self._score_batch(plan, grown, regions, start, stop)

        def run_whole(start: int, stop: int) -> None:
            for place in range(start, stop):
                after[place] = self._whole_forward(regions, place)[0]

        with tensor_float(self.precision == "tf32"):
            if most == 0:  # they do not fit into max_memory; a forward has been run before
                in_batches(len(boxes), 1, self.volume.device, run_whole, advance)
            else:
                tried = most if self.batch_size == "auto" else min(self.batch_size, most)
                left = in_batches(len(boxes), tried, self.volume.device, run, advance)
                if left < tried:  # remembered for all regions that follow, of whatever size
                    self._budget = min(self._budget, left * per_region)
        for place in doubtful.nonzero()[:, 0].tolist():
            after[place] = self._whole_forward(regions, place)[0]
        return self._change(check_outputs(after, len(boxes), self.output_kind))

    def _largest_batch(self, plan: Plan, per_region: int) -> int:
        """Cache what the plan needs, and return how many of its regions may share a batch."""
        cuda, budget = self.volume.is_cuda, self._budget
        with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
            if self.max_memory is None:
                self.program.cache([plan])
            else:
                if self.program.cached_bytes(plan) + per_region > self.max_memory:
                    return 0
                self.program.cache([plan])
                if self.program.cache_bytes + per_region > self.max_memory:
                    self.program.forget_all_but(plan)
                    self.program.cache([plan])
                self.program.workspace.limit_to(left := self.max_memory - self.program.cache_bytes)
                budget = min(budget, float(left))
        if cuda:
            free = torch.cuda.mem_get_info(self.volume.device)[0] + self.program.workspace.nbytes
            budget = min(budget, _SHARE_OF_FREE * free)
        # Whole maps fill the caches one by one; a library wants several scans at a time all the same.
        together = 1
        if plan.plain and not cuda:
            room = _WHOLE_BYTES if self.max_memory is None else budget
            together = min(_WHOLE_TOGETHER, int(room / per_region))
        return int(np.clip(budget / per_region, max(together, 1), _LARGEST_BATCH))

    def _score_batch(
        self, plan: Plan, grown: dict[fx.Node, np.ndarray], regions: Regions, start: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """Return class scores, float64 ``[B, classes]``, and which of them a whole forward must tell."""
        found = self.program.run(plan, grown, start, stop, regions.segments)
        after = found.outputs.double() + self._outputs.double() if found.change else found.outputs.double()
        return after, found.doubtful | ~torch.isfinite(after).all(1)

    def _move(self, box: np.ndarray, values: Tensor) -> Tensor:
        """Change the cached maps with the scan."""
        self.program.look_at(self.volume)
        plan = self.lowered.plan(int(self.lowered.choose(box[None])[0][0]))
        self.program.cache([plan])
        found = self.program.move(plan, box, values)
        if found is None:
            return self._forward(self.volume[None].clone())
        outputs, change = found
        return self._outputs.double() + outputs.double() if change else outputs

    def _keep(self, regions: Regions) -> Any:
        if self.max_memory is not None or self.volume.device.type != "cpu":
            return None  # memory is scarce
        self.program.look_at(self.volume)
        self._prepare(regions.boxes)
        return self.program.mark() if self.program.cache_bytes <= _MOST_KEPT else None

    def _bring_back(self, kept: Any) -> None:
        if kept is None:
            self._forget()
            return
        self.program.look_at(self.volume, self._input_changes())
        self.program.back(kept)

    def _forget(self) -> None:
        self.program.look_at(self.volume, self._input_changes())
        self.program.forget()

    def _whole_forward(self, regions: Regions, place: int) -> Tensor:
        """Return the class scores of one filled scan as the model gives them, ``[1, classes]``."""
        with tensor_float(False):
            outputs = self._forward(filled(self.volume, regions, self.fill, place), True)
            return check_outputs(outputs, 1, self.output_kind).double()


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
