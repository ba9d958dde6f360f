"""Moves the baseline: a region is filled for good, and every cached map is updated.

Scoring a region computes the change of each map and discards it. Here the change is added to the cached
map. Maps after the last box are computed again as a whole. The result is the cache of the filled scan, up
to rounding.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental.input_changes import InputChanges
from pyadx.inference.incremental.plan import Plan
from pyadx.inference.incremental.program import Program
from pyadx.inference.incremental.spread import Spread, lost
from pyadx.inference.incremental.steps import Batch, Patch, channels_first, channels_innermost
from pyadx.inference.region_fill import window
from pyadx.ops import patches

Changes = dict[fx.Node, Patch | Tensor]


_MOST_BATCHES = 2048  # that are kept; each takes a few kB


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A copy of what was cached for a scan."""

    maps: dict[fx.Node, Tensor]
    before: dict[Spread, Tensor]
    largest: dict[fx.Node, float]


class MovingProgram(Program):
    """A `Program` that can change its scan, ``[C, D, H, W]``, in place."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._batches: dict[tuple[int, bytes], Batch] = {}

    def use_volume(self, volume: Tensor, changes: InputChanges | None = None) -> None:
        """Use another tensor as the scan from now on; the cached maps stay.

        Parameters
        ----------
        volume : Tensor
            ``[C, D, H, W]``; `move` changes it in place.
        changes : InputChanges, optional
            What filling a region does to it, if that is new, too.
        """
        self._volume = volume
        if changes is not None:
            self._changes = changes

    def forget(self) -> None:
        """Drop all cached maps; `cache` computes them again for the scan as it is then."""
        self.maps.clear()
        self._before.clear()

    def snapshot(self) -> Snapshot:
        """Return a copy of what is cached, for `restore`."""
        maps = {node: kept.clone() for node, kept in self.maps.items()}
        return Snapshot(maps, dict(self._before), dict(self._largest))

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a copy from `snapshot`; `use_volume` must have been called with the scan of that time."""
        for node in list(self.maps):
            if node not in snapshot.maps:
                del self.maps[node]
        source = self._trace.input
        for node, kept in snapshot.maps.items():
            if node is source:  # may be a view of a scan, which must not be overwritten
                self.maps[node] = channels_innermost(self._volume[None])[0]
            elif node in self.maps:
                self.maps[node].copy_(kept)
            else:
                self.maps[node] = kept.clone()
        self._before, self._largest = dict(snapshot.before), dict(snapshot.largest)

    def move(self, plan: Plan, box: np.ndarray, values: Tensor) -> tuple[Tensor, bool] | None:
        """Change the voxels of a box, and update the cached maps.

        Parameters
        ----------
        plan : Plan
            How many steps run on boxes. The maps that it needs must be cached.
        box : ndarray
            Integers ``[6]``: half-open ``z0, y0, x0, z1, y1, x1`` within the scan.
        values : Tensor
            ``[C, d, h, w]``: the new values of these voxels.

        Returns
        -------
        tuple or None
            The model's outputs for the changed scan, ``[1, classes]``, and whether they are only the
            change of the outputs. None if the changes cannot be trusted (rounding, overflow) or a cached
            map cannot be updated; all cached maps are dropped then.
        """
        own = self._volume[(slice(None), *window(box))]
        old = own.clone()
        found: tuple[Tensor, bool] | None = None
        try:
            changes, batch = self._changes_of(plan, box, channels_innermost((values - old)[None]))
            own.copy_(values)
            if not bool(batch.doubtful.any()):
                found = self._follow(plan, changes)
        except BaseException:  # some maps may have been updated already
            own.copy_(old)
            self.forget()
            self.workspace.clear()
            raise
        if found is None:
            self.forget()
        self._changes.follow(self._volume, box)
        return found

    def _changes_of(self, plan: Plan, box: np.ndarray, change: Tensor) -> tuple[Changes, Batch]:
        """Return the changes of all maps that steps compute, and the batch of the box."""
        batch = self._batch_of_one(plan, box)
        source = self._trace.input
        changes: Changes = {source: Patch(change, batch.boxes[source])}
        for step in plan.steps:
            inputs = [changes[node] for node in step.inputs]
            changes |= step.changes(batch, inputs, self.maps)  # type: ignore[arg-type]
        for node in plan.frontier:
            value = changes[node]
            batch.doubt_infinite(value.data if isinstance(value, Patch) else value)
        return changes, batch

    def _batch_of_one(self, plan: Plan, box: np.ndarray) -> Batch:
        """Return the batch of one box; it is kept, since how a box grows does not depend on the scan."""
        key = (len(plan.steps), box.astype(np.int32).tobytes())
        known = self._batches.get(key)
        if known is None:
            grown = self._network.grow(box[None].astype(np.int32), plan.steps)
            known = self._batch(plan, grown, slice(0, 1))
            if len(self._batches) >= _MOST_BATCHES:
                self._batches.clear()
            self._batches[key] = known
        fresh = torch.zeros(1, dtype=torch.bool, device=self._volume.device)
        return replace(known, precision=self._precision, doubtful=fresh)

    def _follow(self, plan: Plan, changes: Changes) -> tuple[Tensor, bool] | None:
        """Add the changes to the cached maps, and compute again the cached maps after the last box."""
        source = self._trace.input
        self.maps[source] = channels_innermost(self._volume[None])[0]
        self._unshare_maps()
        left = set(self.maps) - {source}
        for node in left & set(changes):
            self._add(node, changes[node])
            left.discard(node)
        whole = bool(plan.plain or plan.frontier)
        outputs = self._rerun_plain(plan, left) if whole else changes.get(self._network.output)
        if isinstance(outputs, Tensor):
            outputs = outputs.clone()
        for value in changes.values():
            self._release(value)
        if left or not isinstance(outputs, Tensor) or (self._before and not whole):
            return None
        return outputs, not whole

    def _unshare_maps(self) -> None:
        """Copy maps that share memory: otherwise a change would be added to them twice."""
        seen = set()
        for node, kept in self.maps.items():
            place = kept.untyped_storage().data_ptr()
            if place in seen:
                self.maps[node] = kept = kept.clone()
            seen.add(kept.untyped_storage().data_ptr())

    def _add(self, node: fx.Node, value: Patch | Tensor) -> None:
        kept = self.maps[node]
        if isinstance(value, Patch):
            whole = torch.tensor([[0, 0, 0, *kept.shape[:3]]], dtype=torch.int32, device=kept.device)
            patches.place(value.data, value.boxes, whole, kept[None], add=True)
        else:
            kept += value
        if self._network.spreads and kept.numel():  # only the check of normalisations needs it
            self._largest[node] = max(self._largest.get(node, 0.0), float(kept.abs().max()))

    def _rerun_plain(self, plan: Plan, left: set[fx.Node]) -> Tensor | None:
        """Run the plain operations on whole maps, and cache those of the results that are in ``left``."""
        whole = {}
        for node in plan.frontier:
            kept = self.maps[node]
            local = node in self._network.local or node is self._trace.input
            whole[node] = channels_first(kept[None]) if local else kept.clone()
        scale = max((self._largest.get(node, 0.0) for node in plan.frontier), default=0.0)
        doubtful = False
        measured = {}

        def keep(node: fx.Node, value: Tensor) -> None:
            nonlocal doubtful
            if node in left:
                self.maps[node] = self._laid_out(node, value).clone()
                if self._network.spreads:
                    self._largest[node] = float(value.abs().max())
                left.discard(node)
            for spread in self._network.spreads.get(node, ()):
                measured[spread] = own = spread.measure(value, 1)
                doubtful |= bool(lost(own, self._before[spread], scale, self._volume.dtype).any())

        outputs = self._run_plain(plan, whole, 1, keep)
        if doubtful or len(measured) < len(self._before):
            return None
        self._before.update(measured)
        return outputs
