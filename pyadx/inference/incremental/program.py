"""A traced model, ready to score boxes of one scan: caches, steps, and the plain rest."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.cost import best_stop
from pyadx.inference.incremental.interpreter import Interpreter, needed_for
from pyadx.inference.incremental.lowering import Lowering
from pyadx.inference.incremental.steps import Batch, Patch, Step, channels_first, channels_innermost
from pyadx.inference.incremental.trace import Trace
from pyadx.inference.incremental.workspace import Workspace
from pyadx.inference.regions import Segments
from pyadx.ops import patches


@dataclass
class Plan:
    """How far boxes go for one kind of region, and what follows them.

    Attributes
    ----------
    steps : list of Step
        Taken on boxes.
    plain : list of fx.Node
        Taken on whole batches afterwards; empty if the steps reach the class scores.
    frontier : list of fx.Node
        Whose changes are scattered into whole maps in between.
    gain : float
        Predicted time of a whole forward over that of this plan.
    """

    steps: list[Step]
    plain: list[fx.Node]
    frontier: list[fx.Node]
    gain: float
    last_reader: dict[fx.Node, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last_reader = {node: step for step in self.steps for node in step.inputs}


class Program:
    """Recomputes what changes when boxes of one scan are filled.

    Parameters
    ----------
    trace : Trace
        The model.
    volume : Tensor
        The scan, ``[C, D, H, W]``.
    difference : Tensor
        Fill minus scan, ``[C, D, H, W]``.
    precision : torch.dtype
        What convolutions compute in.
    """

    def __init__(self, trace: Trace, volume: Tensor, difference: Tensor, precision: torch.dtype) -> None:
        self._trace = trace
        self._lowering = Lowering(trace)
        self._interpreter = Interpreter(trace)
        self._precision = precision
        self._volume = volume
        self._difference = channels_innermost(difference[None])[0]
        self._workspace = Workspace(volume.dtype, volume.device)
        self.maps: dict[fx.Node, Tensor] = {}
        self._labels: tuple[Tensor, Tensor] | None = None
        self._output = self._lowering.resolve(trace.output)
        local = [step for step in self._lowering.steps if step.local]
        self._local = {node for step in local for node in (step.output, *step.before)}

    @property
    def cache_bytes(self) -> int:
        """Memory of the cached maps of the unperturbed scan."""
        return sum(m.numel() * m.element_size() for m in self.maps.values())

    @property
    def workspace_bytes(self) -> int:
        """Memory of the buffers that batches are written into."""
        return self._workspace.nbytes

    # --- planning ----------------------------------------------------------------------------------------

    def plan(self, boxes: np.ndarray) -> Plan:
        """Choose how far boxes go for regions like these, and cache the maps that this takes."""
        grown = self.grow(boxes, self._lowering.steps)
        steps = self._lowering.steps
        plain, frontier = [], []
        for stop in range(len(steps) + 1):
            rest, cut = self._remainder(steps[:stop])
            plain.append(rest)
            frontier.append(cut)
        stop, gain = best_stop(steps, grown, plain, frontier)
        # Steps that lead nowhere (their readers are all plain) are not taken.
        taken = self._useful(steps[:stop], [*frontier[stop], self._output])
        plan = Plan(taken, plain[stop], frontier[stop], gain)
        self._cache(plan)
        return plan

    def _remainder(self, steps: Sequence[Step]) -> tuple[list[fx.Node], list[fx.Node]]:
        """Return the operations that steps leave over, and the changes that those read."""
        known = {self._trace.input, *(step.output for step in steps)}
        if self._output in known:
            return [], []
        known |= {a for a, n in self._lowering.aliases.items() if self._lowering.resolve(n) in known}
        rest = needed_for(self._output, self._trace.nodes, known)
        inside = set(rest)
        read = {self._lowering.resolve(n) for node in rest for n in node.all_input_nodes if n not in inside}
        return rest, [n for n in (self._trace.input, *(s.output for s in steps)) if n in read]

    @staticmethod
    def _useful(steps: Sequence[Step], wanted: Sequence[fx.Node]) -> list[Step]:
        needed, taken = set(wanted), []
        for step in reversed(steps):
            if step.output in needed:
                taken.append(step)
                needed.update(step.inputs)
        return taken[::-1]

    def _cache(self, plan: Plan) -> None:
        """Run the scan through the model once and keep what the plan's steps compare with."""
        wanted = {node for step in plan.steps for node in step.before} | set(plan.frontier)
        wanted -= {self._trace.input, *self.maps}
        self.maps.setdefault(self._trace.input, channels_innermost(self._volume[None])[0])
        if not wanted:
            return
        found: dict[fx.Node, Tensor] = {}

        def keep(node: fx.Node, value: Tensor) -> None:
            if node in wanted:
                # Only maps are laid out as maps; vectors keep their batch of one.
                local = node in self._local
                found[node] = channels_innermost(value)[0] if local else value.contiguous()

        given = {self._trace.input: self._volume[None]}
        nodes = needed_for(self._trace.output, self._trace.nodes, set(given))
        self._interpreter.run(given, nodes, 1, keep)
        self.maps.update(found)

    def grow(self, boxes: np.ndarray, steps: Sequence[Step]) -> dict[fx.Node, np.ndarray]:
        """Return the boxes of changed cells in every local node."""
        grown = {self._trace.input: boxes}
        for step in steps:
            if all(node in grown for node in step.inputs):
                own = step.grow([grown[node] for node in step.inputs])
                if step.boxed:
                    grown[step.output] = own
        return grown

    def bytes_per_region(self, plan: Plan, boxes: np.ndarray) -> float:
        """Estimate the memory that one region of a batch takes at its peak."""
        grown = self.grow(boxes, plan.steps)
        alive: dict[fx.Node, float] = {}
        most = 0.0
        for node in (self._trace.input, *(step.output for step in plan.steps)):
            if node not in grown:
                continue
            step = next((s for s in plan.steps if s.output is node), None)
            value = node.meta["val"]
            alive[node] = (
                float(np.prod(bx.largest(grown[node]))) * int(value.shape[1]) * value.element_size()
            )
            most = max(most, sum(alive.values()) + 2 * alive[node])
            for source in step.inputs if step is not None else ():
                if plan.last_reader[source] is step:
                    alive.pop(source, None)
        whole = [node for node in (*plan.plain, *plan.frontier) if isinstance(node.meta.get("val"), Tensor)]
        sizes = [
            float(np.prod([int(n) for n in node.meta["val"].shape[1:]])) * node.meta["val"].element_size()
            for node in whole
        ]
        return max(most, sum(alive.values()) + 3 * max(sizes, default=0.0))

    # --- running -----------------------------------------------------------------------------------------

    def run(
        self,
        plan: Plan,
        grown: dict[fx.Node, np.ndarray],
        start: int,
        stop: int,
        segments: Segments | None = None,
    ) -> tuple[Tensor, bool]:
        """Score one batch: all of the voxels in boxes, or those in intervals of labels.

        Returns
        -------
        outputs : Tensor
            ``[B, classes]``.
        change : bool
            Whether they are changes of the class scores, or the class scores themselves.
        """
        try:
            return self._run(plan, grown, start, stop, segments)
        except BaseException:  # out of memory, Ctrl-C: what the batch held must not stay lent
            self._workspace.clear()
            raise

    def _run(
        self,
        plan: Plan,
        grown: dict[fx.Node, np.ndarray],
        start: int,
        stop: int,
        segments: Segments | None,
    ) -> tuple[Tensor, bool]:
        batch = self._batch(plan, grown, start, stop)
        frame = batch.boxes[self._trace.input]
        first = batch.new(self._trace.input, self._difference.shape[-1])
        patches.gather(frame, first, source=self._difference)
        if segments is not None:
            intervals = torch.from_numpy(segments.intervals[start:stop])
            self._keep(batch, first, frame, segments.labels, intervals)
        values: dict[fx.Node, Patch | Tensor] = {self._trace.input: Patch(first, frame)}
        held = set(plan.frontier)
        for step in plan.steps:
            values[step.output] = step.run(batch, [values[n] for n in step.inputs], self.maps)  # type: ignore[misc]
            for node in step.inputs:
                if plan.last_reader[node] is step and node not in held and node in values:
                    self._release(values.pop(node))
        if not plan.plain and not plan.frontier:
            outputs = values.pop(self._output)
            assert isinstance(outputs, Tensor)
            for value in values.values():
                self._release(value)
            return outputs, True
        whole = {node: self._whole(batch, node, values[node]) for node in plan.frontier}
        for value in values.values():
            self._release(value)
        given = dict(whole)
        for alias, node in self._lowering.aliases.items():
            if self._lowering.resolve(node) in whole:
                given[alias] = whole[self._lowering.resolve(node)]
        outputs = self._interpreter.run(given, plan.plain, batch.size)
        for tensor in whole.values():
            self._workspace.give(tensor)
        return outputs, False

    def _batch(self, plan: Plan, grown: dict[fx.Node, np.ndarray], start: int, stop: int) -> Batch:
        device = self._volume.device
        batch = Batch(stop - start, self._workspace, self._precision)

        def on_device(boxes: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(boxes)).to(device, non_blocking=True)

        own = {node: boxes[start:stop] for node, boxes in grown.items()}
        for node, boxes in own.items():
            batch.slots[node] = bx.largest(boxes)
            batch.boxes[node] = on_device(boxes)
        for step in plan.steps:
            if step.output in own:
                tables = step.tables([own[n] for n in step.inputs], own[step.output])
                batch.tables[step.output] = [on_device(table) for table in tables]
        return batch

    def _keep(self, batch: Batch, data: Tensor, frame: Tensor, labels: Tensor, intervals: Tensor) -> None:
        """Set changes to zero where the label lies outside the interval of its region."""
        if self._labels is None or self._labels[0] is not labels:
            # In the type of the patches; label numbers are small enough to be exact.
            self._labels = (labels, labels.to(data.dtype)[..., None].contiguous())
        own = batch.workspace.take(*data.shape[:-1], 1)
        patches.gather(frame, own, source=self._labels[1])
        low, high = intervals.to(data.device, data.dtype).T.reshape(2, -1, 1, 1, 1, 1)
        data.mul_((own >= low) & (own < high))
        batch.workspace.give(own)

    def _whole(self, batch: Batch, node: fx.Node, value: Patch | Tensor) -> Tensor:
        """Return a node's values for every region of the batch, in the network's own shape."""
        base = self.maps[node]
        if isinstance(value, Tensor):
            return base + value
        out = batch.workspace.take(batch.size, *base.shape)
        patches.scatter(value.data, value.boxes, base, out)
        return channels_first(out)

    def _release(self, value: Patch | Tensor) -> None:
        if isinstance(value, Patch):
            self._workspace.give(value.data)
