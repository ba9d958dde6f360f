"""Runs plans for one scan: caches its maps, runs steps on boxes, and plain operations on whole maps."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.batches import Grown, Room, make_batch
from pyadx.inference.incremental.input_changes import InputChanges
from pyadx.inference.incremental.interpreter import needed_for
from pyadx.inference.incremental.lowered_network import LoweredNetwork
from pyadx.inference.incremental.plan import Plan, Scores, bytes_per_region, node_bytes
from pyadx.inference.incremental.spread import Spread, lost
from pyadx.inference.incremental.steps import Batch, Maps, Patch, channels_first, channels_innermost
from pyadx.inference.incremental.workspace import Workspace, WorkspaceFullError
from pyadx.inference.regions import Segments
from pyadx.ops import patches


class Program:
    """Recomputes what changes when regions of one scan are filled.

    Parameters
    ----------
    network : LoweredNetwork
        The model; it may serve several scans.
    volume : Tensor
        The scan, ``[C, D, H, W]``.
    changes : InputChanges
        What filling a region does to the scan.
    precision : torch.dtype
        Dtype in which convolutions compute.

    Attributes
    ----------
    workspace : Workspace
        Lends the memory of batches.
    maps : dict
        The cached maps of the unperturbed scan.
    """

    def __init__(
        self, network: LoweredNetwork, volume: Tensor, changes: InputChanges, precision: torch.dtype
    ) -> None:
        self._trace = network.trace
        self._network = network
        self._precision = precision
        self._volume = volume
        self._changes = changes
        self.workspace = Workspace(volume.dtype, volume.device)
        self.maps: dict[fx.Node, Tensor] = {}
        self._largest: dict[fx.Node, float] = {}
        self._before: dict[Spread, Tensor] = {}

    @property
    def cache_bytes(self) -> int:
        """Bytes of the cached maps."""
        return sum(m.numel() * m.element_size() for m in self.maps.values())

    def cache(self, plans: Iterable[Plan]) -> None:
        """Run the scan through the model once, and cache the maps that the plans need."""
        wanted = {node for plan in plans for node in plan.kept} - {self._trace.input, *self.maps}
        self.maps.setdefault(self._trace.input, channels_innermost(self._volume[None])[0])
        if not wanted and len(self._before) == sum(map(len, self._network.spreads.values())):
            return
        found: dict[fx.Node, Tensor] = {}

        def keep(node: fx.Node, value: Tensor) -> None:
            if node in wanted:
                laid = self._laid_out(node, value)
                # A view of the scan, such as a slice of its only channel, would change with it.
                shared = laid.untyped_storage().data_ptr() == self._volume.untyped_storage().data_ptr()
                found[node] = laid.clone() if shared else laid
            for spread in self._network.spreads.get(node, ()):
                self._before[spread] = spread.measure(value, 1)

        given = {self._trace.input: self._volume[None]}
        nodes = needed_for(self._trace.output, self._trace.nodes, set(given))
        keep(self._trace.input, self._volume[None])
        self._network.interpreter.run(given, nodes, 1, keep)
        self.maps.update(found)
        if self._network.spreads:  # only the check of normalisations needs it
            self._largest = {node: float(kept.abs().max()) for node, kept in self.maps.items()}

    def _laid_out(self, node: fx.Node, value: Tensor) -> Tensor:
        """Return a node's value for one scan in the layout in which it is cached."""
        # Maps are cached channels-innermost without the batch axis; vectors keep their batch of one.
        return channels_innermost(value)[0] if node in self._network.local else value.contiguous()

    def cached_bytes(self, plan: Plan) -> int:
        """Return the bytes of the maps that one plan needs, cached or not."""
        return sum(node_bytes(node) for node in {*plan.kept, self._trace.input})

    def forget_all_but(self, plan: Plan) -> None:
        """Drop cached maps that a plan does not need."""
        self.maps = {node: kept for node, kept in self.maps.items() if node in plan.kept}

    def bytes_per_region(self, plan: Plan, grown: Grown) -> int:
        """Return the bytes that one region of a batch takes at most, if slots just hold the boxes."""
        return self.bytes_in_slots(plan, {node: bx.largest(boxes) for node, boxes in grown.items()})

    def bytes_in_slots(self, plan: Plan, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return the bytes that one region of a batch takes at most in slots of these sizes."""
        return bytes_per_region(plan, self._trace.input, slots)

    # --- running -----------------------------------------------------------------------------------------

    def run(
        self,
        plan: Plan,
        grown: Grown,
        start: int,
        stop: int,
        segments: Segments | None = None,
        room: Room | None = None,
    ) -> Scores:
        """Score one batch of regions.

        Parameters
        ----------
        plan : Plan
            The plan of these regions; the maps that it needs must be cached.
        grown : mapping
            Boxes of all regions in every node, ``[R, 6]`` each.
        start, stop : int
            The regions of the batch.
        segments : Segments, optional
            Labels and intervals of all regions. Without them, regions are all voxels of their boxes.
        room : Room, optional
            Sizes that the batch is padded to.

        Returns
        -------
        Scores
            Of ``stop - start`` regions.
        """
        asked = (plan, grown, start, stop, segments, room)
        try:
            try:
                return self._run(*asked).of_first(stop - start)
            except WorkspaceFullError:  # larger buffers than needed are lent: again with exact ones
                self.workspace.clear()
                self.workspace.exact = True
                return self._run(*asked).of_first(stop - start)
        except BaseException:  # out of memory, Ctrl-C: what the batch held must not stay lent
            self.workspace.clear()
            raise
        finally:
            self.workspace.exact = False

    def _run(
        self,
        plan: Plan,
        grown: Grown,
        start: int,
        stop: int,
        segments: Segments | None,
        room: Room | None = None,
    ) -> Scores:
        batch = self._batch(plan, grown, slice(start, stop), segments, room)
        frame = batch.boxes[self._trace.input]
        first = batch.new(self._trace.input, self._changes.channels)
        own = None if segments is None else Segments(segments.labels, segments.intervals[start:stop])
        boxes = grown[self._trace.input][start:stop]
        self._changes.write(first, frame, boxes, own, batch.intervals, self.workspace)
        values: dict[fx.Node, Patch | Tensor] = {self._trace.input: Patch(first, frame)}
        held = set(plan.frontier)
        for step in plan.steps:
            values[step.output] = step.run(batch, [values[n] for n in step.inputs], self.maps)  # type: ignore[misc]
            for node in step.inputs:
                if plan.last_reader[node] is step and node not in held and node in values:
                    self._release(values.pop(node))
        if not plan.plain and not plan.frontier:
            outputs = values.pop(self._network.output)
            assert isinstance(outputs, Tensor)
            for value in values.values():
                self._release(value)
            return Scores(outputs, True, batch.doubtful)
        for node in plan.frontier:
            value = values[node]
            batch.doubt_infinite(value.data if isinstance(value, Patch) else value)
        whole = {node: self._whole(batch, node, values[node]) for node in plan.frontier}
        for value in values.values():
            self._release(value)
        outputs = self._run_plain(plan, whole, batch.size, self._watch(plan, batch))
        for tensor in whole.values():
            self.workspace.give(tensor)
        return Scores(outputs, False, batch.doubtful)

    def _run_plain(
        self, plan: Plan, whole: Maps, scans: int, see: Callable[[fx.Node, Tensor], None]
    ) -> Tensor:
        """Run the plain operations on whole maps; ``see`` is called with every map, given ones first."""
        given = self._network.named(whole)
        for node, value in given.items():
            see(node, value)
        outputs: Tensor = self._network.interpreter.run(given, plan.plain, scans, see)
        return outputs

    def _watch(self, plan: Plan, batch: Batch) -> Callable[[fx.Node, Tensor], None]:
        """Return a callback that marks regions whose maps lost the spread that the network divides by."""
        if not self._network.spreads:
            return lambda node, value: None
        dtype = self._volume.dtype
        scale = max(self._largest[node] for node in plan.frontier)

        def watch(node: fx.Node, value: Tensor) -> None:
            for spread in self._network.spreads.get(node, ()):
                measured = spread.measure(value, batch.size)
                batch.doubtful = batch.doubtful | lost(measured, self._before[spread], scale, dtype)

        return watch

    def _batch(
        self,
        plan: Plan,
        grown: Grown,
        chosen: slice,
        segments: Segments | None = None,
        room: Room | None = None,
    ) -> Batch:
        device = self._volume.device
        return make_batch(plan, grown, chosen, self.workspace, self._precision, device, segments, room)

    def _whole(self, batch: Batch, node: fx.Node, value: Patch | Tensor) -> Tensor:
        """Return the whole map of a node for every region of the batch, in the network's own layout."""
        base = self.maps[node]
        if isinstance(value, Tensor):
            return base + value
        out = batch.workspace.take(batch.size, *base.shape)
        patches.scatter(value.data, value.boxes, base, out)
        return channels_first(out)

    def _release(self, value: Patch | Tensor) -> None:
        if isinstance(value, Patch):
            self.workspace.give(value.data)
