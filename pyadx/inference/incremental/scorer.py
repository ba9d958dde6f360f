"""The fast scorer: recomputes only what a filled region changes, and gives the scores of full forwards."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.batch.trace import place_in_trace, state_of_trace
from pyadx.inference.batching import BatchSize, in_batches
from pyadx.inference.chunks import Wait, gathered
from pyadx.inference.errors import UntraceableError
from pyadx.inference.full import filled
from pyadx.inference.incremental.batches import Grown, Room
from pyadx.inference.incremental.boxes import by_size
from pyadx.inference.incremental.input_changes import InputChanges, RegionChanges, VolumeChanges
from pyadx.inference.incremental.lowered_network import LoweredNetwork
from pyadx.inference.incremental.memory import BatchMemory
from pyadx.inference.incremental.moving import MovingProgram
from pyadx.inference.incremental.options import (
    Precision,
    check_max_memory,
    check_precision,
    wants_canonical_slots,
)
from pyadx.inference.incremental.plan import Plan
from pyadx.inference.incremental.slots import CanonicalSlots, Group, full_rows
from pyadx.inference.incremental.survey import Ending, LayerRow, ending, layer_rows, typical_boxes
from pyadx.inference.incremental.trace import Trace, trace
from pyadx.inference.model_state import evaluation_mode, tensor_float
from pyadx.inference.outputs import Output, check_outputs
from pyadx.inference.region_fill import RegionFill
from pyadx.inference.regions import Regions
from pyadx.inference.score import Outputs, Score, Target
from pyadx.inference.scorer import Scorer
from pyadx.inference.watch import OutputWatch

_TYPICAL = (7,)  # side of a window in voxels
_LEAST_GAIN, _LEAST_GAIN_WHOLE = 1.3, 2.0  # predicted gains that pay: without and with whole maps
_MOST_KEPT = 2 << 30  # bytes of cached maps that are copied by `snapshot`
_AHEAD = {"cuda": 1}  # chunks launched ahead; on a CPU that would only delay their results


class IncrementalScorer(Scorer):
    """Scores regions of one scan by recomputing, layer by layer, only the cells that they change.

    The activations of the unperturbed scan are cached once. A filled box changes each layer only inside a
    box, which grows from layer to layer. Changes pass linearly through convolutions, and need the cache
    only at ReLUs and poolings. Whole maps are recomputed from the layer where boxes no longer pay, or
    from the first operation that is not local. Scores equal those of `FullScorer` up to rounding, and do
    not depend on which regions share a batch. The idea for 2D images: Nakandala et al., "Incremental and
    Approximate Inference for Faster Occlusion-Based Deep CNN Explanations", SIGMOD 2019.

    Parameters
    ----------
    model, volume, target, fill, score, outputs, batch_size, progress, signed, watch, output, forward_args
        As in `pyadx.inference.scorer.Scorer`.
    precision : {"float32", "tf32", "bf16"}
        Format in which changes are convolved. ``tf32`` (CUDA only) and ``bf16`` round the changes, not the
        activations; sums are in float32. With ``float32`` and ``tf32``, float64 models stay in float64.
    max_memory : int, optional
        Bytes that the cache and the batches may take together. Regions that do not fit are scored by full
        forwards, one scan at a time. The memory of these is not limited.
    tracer : callable
        Traces the model: `pyadx.inference.incremental.trace.trace`, or a `KeptTrace` that several scans
        share.

    Attributes
    ----------
    lowered : LoweredNetwork
        The traced model as steps.
    program : MovingProgram
        Runs them for this scan.
    target, reference, volume
        As in `pyadx.inference.scorer.Scorer`.

    Raises
    ------
    UntraceableError
        A ``ValueError``: ``torch.export`` cannot trace the model, and the message says why; or the scan is
        neither float32 nor float64; or fill minus scan is not finite.
    TypeError, ValueError
        If the volume, target or an option is not as described.
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
            raise UntraceableError(
                f"incremental inference needs a float32 or float64 scan, got {self.volume.dtype}; "
                "convert model and scan, for example with .float()"
            )
        if precision == "tf32" and self.volume.device.type != "cuda":
            raise ValueError(
                f"precision='tf32' needs a CUDA device, and the scan is on {self.volume.device}; "
                "use 'float32' or 'bf16'"
            )
        self.precision = precision
        self.max_memory = max_memory
        wanted = torch.bfloat16 if precision == "bf16" else self.volume.dtype
        with evaluation_mode(self.model), torch.no_grad():
            changes = self._input_changes()
            traced = tracer(self._network, self.volume)
            self.lowered = LoweredNetwork.of(traced)
            self.program = MovingProgram(self.lowered, self.volume, changes, wanted)
        self.settle_batches(state_of_trace(traced.nodes, traced.input, traced.output), place_in_trace)
        self._memory = BatchMemory(self.lowered, self.program, self.model, self.volume, max_memory)
        self._canonical: CanonicalSlots | None = None
        # Slots of few sizes take more memory than slots that just hold their boxes.
        if max_memory is None and wants_canonical_slots(self.volume.device.type):
            self._canonical = CanonicalSlots(self.lowered)

    def _input_changes(self) -> InputChanges:
        if isinstance(self.fill, RegionFill):
            return RegionChanges(self.fill, self.volume)
        return VolumeChanges(self.fill, self.volume)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that cached activations and batches take."""
        return {"cache": self.program.cache_bytes, "batches": self.program.workspace.nbytes}

    def layers(self) -> list[LayerRow]:
        """Return the network's layers, with the share of each that is recomputed on boxes."""
        return layer_rows(self.lowered)

    def ending(self, boxes: np.ndarray | None = None) -> Ending | None:
        """Return the operation from which whole maps have to be recomputed, or None if there is none.

        Parameters
        ----------
        boxes : ndarray, optional
            int32 ``[R, 6]``: regions for which gains are predicted; by default one window of 7 voxels.
        """
        shape = tuple(self.volume.shape[1:])
        return ending(self.lowered, typical_boxes(shape, _TYPICAL) if boxes is None else boxes)

    def typical_gains(self, sides: Sequence[int]) -> dict[int, float]:
        """Predict the gains over full forwards for cubes with these sides in voxels; 2 is twice as fast."""
        gains = self.gains(typical_boxes(tuple(self.volume.shape[1:]), sides))
        return dict(zip(sides, gains.tolist(), strict=True))

    def gain(self, boxes: np.ndarray) -> float:
        """Predict the gain over full forwards for these regions, ``[R, 6]``, together."""
        if not len(boxes):
            boxes = np.array([[0, 0, 0, 1, 1, 1]], np.int32)
        return float(1 / (1 / self.gains(boxes)).mean())

    def gains(self, boxes: np.ndarray) -> np.ndarray:
        """Predict the gain over a full forward for each of the regions, ``[R, 6]``: float64 ``[R]``."""
        return self.lowered.choose(boxes)[1]

    def pays(self, boxes: np.ndarray) -> np.ndarray:
        """Return for every region, ``[R, 6]``, whether it is predicted to be faster on boxes, bool ``[R]``.

        A margin is needed because predictions may be too high: by a fifth where boxes reach the class
        scores; by half where whole maps are left, since their time depends on the vendor's library.
        """
        stops, gains = self.lowered.choose(boxes)
        whole = np.array([bool(self.lowered.plan(int(stop)).plain) for stop in stops], bool)
        return gains >= np.where(whole, _LEAST_GAIN_WHOLE, _LEAST_GAIN)

    def _prepare(self, boxes: np.ndarray) -> None:
        """Cache what these regions need; see `BatchMemory.prepare`."""
        if self._canonical is not None:
            self._canonical.expect(boxes)
        self._memory.prepare(boxes)

    @property
    def _ahead(self) -> int:
        return _AHEAD.get(self.volume.device.type, 0)

    def _launch_chunk(self, regions: Regions, advance: Callable[[int], None]) -> Wait:
        """Start scoring regions; those with the same plan and about the same size share batches."""
        stops, _ = self.lowered.choose(regions.boxes)
        launched = []
        for stop in np.unique(stops):
            own = np.flatnonzero(stops == stop)
            plan = self.lowered.plan(int(stop))
            for group in self._groups(plan, regions.boxes[own]):
                members = own[group.places]
                launched.append((members, self._launch_group(plan, regions.part(members), group, advance)))
        return lambda: gathered(self._outputs.new_empty(len(stops)), launched)

    def _groups(self, plan: Plan, boxes: np.ndarray) -> Iterator[Group]:
        if self._canonical is not None:
            return self._canonical.groups(plan, boxes)
        return (Group(places, None) for places in by_size(boxes))

    def _launch_group(
        self, plan: Plan, regions: Regions, group: Group, advance: Callable[[int], None]
    ) -> Wait:
        count = len(regions.boxes)
        grown = self.lowered.grow(regions.boxes, plan.steps)
        slots = group.slots
        if slots is None:
            per_region = self.program.bytes_per_region(plan, grown)
        else:
            per_region = self.program.bytes_in_slots(plan, slots)
        most = self._memory.largest_batch(plan, per_region)
        most = most if slots is None else full_rows(most)
        tried = most if self.batch_size == "auto" else min(self.batch_size, most)
        # Read only once, after the last batch: every reading waits for the GPU.
        after = self._outputs.new_empty(count, self._outputs.shape[1], dtype=torch.float64)
        doubtful = torch.zeros(count, dtype=torch.bool, device=after.device)

        def run(start: int, stop: int) -> None:
            room = None
            if self._canonical is not None and slots is not None:
                room = Room(slots, self._canonical.rows(plan, stop - start, tried))
            found = self._score_batch(plan, grown, regions, slice(start, stop), room)
            after[start:stop], doubtful[start:stop] = found

        def run_whole(start: int, stop: int) -> None:
            for place in range(start, stop):
                after[place] = self._full_forward(regions, place)[0]

        with tensor_float(self.precision == "tf32"):
            if most == 0:  # not even one fits into max_memory; a full forward does, since one has run
                in_batches(count, 1, self.volume.device, run_whole, advance)
            else:
                left = in_batches(count, tried, self.volume.device, run, advance)
                if left < tried:  # remembered for all further regions, whatever their size
                    self._memory.limit(left * per_region)
        return lambda: self._finish(regions, after, doubtful)

    def _finish(self, regions: Regions, after: Tensor, doubtful: Tensor) -> Tensor:
        """Wait for the class scores, replace doubtful ones by full forwards, and return the changes."""
        for place in doubtful.nonzero()[:, 0].tolist():
            after[place] = self._full_forward(regions, place)[0]
        return self._change(check_outputs(after, len(after), self.output_kind))

    def _score_batch(
        self, plan: Plan, grown: Grown, regions: Regions, own: slice, room: Room | None
    ) -> tuple[Tensor, Tensor]:
        """Return class scores, float64 ``[B, classes]``, and which need a full forward, bool ``[B]``."""
        found = self.program.run(plan, grown, own.start, own.stop, regions.segments, room)
        after = found.outputs.double() + self._outputs.double() if found.change else found.outputs.double()
        return after, found.doubtful | ~torch.isfinite(after).all(1)

    def _move(self, box: np.ndarray, values: Tensor) -> Tensor:
        """Change the scan's voxels in a box, update the cached maps, and return the model's new outputs."""
        self.program.use_volume(self.volume)
        plan = self.lowered.plan(int(self.lowered.choose(box[None])[0][0]))
        self.program.cache([plan])
        found = self.program.move(plan, box, values)
        if found is None:
            return self._forward(self.volume[None].clone())
        outputs, change = found
        return self._outputs.double() + outputs.double() if change else outputs

    def _keep(self, regions: Regions) -> Any:
        if self.max_memory is not None or self.volume.device.type != "cpu":
            return None  # memory is too scarce for a second copy
        self.program.use_volume(self.volume)
        self._prepare(regions.boxes)
        return self.program.snapshot() if self.program.cache_bytes <= _MOST_KEPT else None

    def _bring_back(self, kept: Any) -> None:
        if kept is None:
            self._forget()
            return
        self.program.use_volume(self.volume, self._input_changes())
        self.program.restore(kept)

    def _forget(self) -> None:
        self.program.use_volume(self.volume, self._input_changes())
        self.program.forget()

    def _full_forward(self, regions: Regions, place: int) -> Tensor:
        """Return the class scores of one filled scan as the model gives them, ``[1, classes]``."""
        with tensor_float(False):
            outputs = self._forward(filled(self.volume, regions, self.fill, place), True)
            return check_outputs(outputs, 1, self.output_kind).double()
