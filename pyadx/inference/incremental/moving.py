"""Moving the baseline: a region is filled for good, and every cached map follows.

Scoring a region computes how far each map changes and throws that away; here it is added to the cached map.
Maps behind the last box are run again as a whole. The result is the cache of the filled scan, to rounding.
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


_MOST_BATCHES = 2048  # a few kB each


@dataclass(frozen=True, eq=False)
class Mark:
    """What was cached of a scan."""

    maps: dict[fx.Node, Tensor]
    before: dict[Spread, Tensor]
    largest: dict[fx.Node, float]


class MovingProgram(Program):
    """A `Program` whose scan can change, ``[C, D, H, W]``; the scan is changed in place."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._batches: dict[tuple[int, bytes], Batch] = {}

    def look_at(self, volume: Tensor, changes: InputChanges | None = None) -> None:
        """Take a copy of the scan, which `move` changes in place, for the scan; perhaps fill otherwise."""
        self._volume = volume
        if changes is not None:
            self._changes = changes

    def forget(self) -> None:
        """Let go of all cached maps; `cache` makes those of the scan as it is."""
        self.maps.clear()
        self._before.clear()

    def mark(self) -> Mark:
        """Return a copy of what is cached, to come back to."""
        maps = {node: kept.clone() for node, kept in self.maps.items()}
        return Mark(maps, dict(self._before), dict(self._largest))

    def back(self, mark: Mark) -> None:
        """Return to what was cached of a scan that `look_at` has taken."""
        for node in list(self.maps):
            if node not in mark.maps:
                del self.maps[node]
        source = self._trace.input
        for node, kept in mark.maps.items():
            if node is source:  # a view of a scan, which is not to be written into
                self.maps[node] = channels_innermost(self._volume[None])[0]
            elif node in self.maps:
                self.maps[node].copy_(kept)
            else:
                self.maps[node] = kept.clone()
        self._before, self._largest = dict(mark.before), dict(mark.largest)

    def move(self, plan: Plan, box: np.ndarray, values: Tensor) -> tuple[Tensor, bool] | None:
        """Change the voxels of a box, and the cached maps with them.

        Parameters
        ----------
        plan : Plan
            How far boxes go; what it needs is cached.
        box : ndarray
            Integers ``[6]``: half-open ``z0, y0, x0, z1, y1, x1`` within the scan.
        values : Tensor
            ``[C, d, h, w]``: what stands there afterwards.

        Returns
        -------
        tuple or None
            What the model returns, ``[1, classes]``, and whether that is a change of it. None where
            changes say too little, or a cached map cannot follow: all maps are forgotten then.
        """
        own = self._volume[(slice(None), *window(box))]
        old = own.clone()
        found: tuple[Tensor, bool] | None = None
        try:
            changes, batch = self._changes_of(plan, box, channels_innermost((values - old)[None]))
            own.copy_(values)
            if not bool(batch.doubtful.any()):
                found = self._follow(plan, changes)
        except BaseException:  # some maps may have moved
            own.copy_(old)
            self.forget()
            self.workspace.clear()
            raise
        if found is None:
            self.forget()
        self._changes.follow(self._volume, box)
        return found

    def _changes_of(self, plan: Plan, box: np.ndarray, change: Tensor) -> tuple[Changes, Batch]:
        """Return the changes of all maps that boxes reach."""
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
        """Return the batch of one box; where a box goes does not depend on the scan, and is kept."""
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
        """Add the changes to the cached maps, and make those anew that lie behind them."""
        source = self._trace.input
        self.maps[source] = channels_innermost(self._volume[None])[0]
        self._part_maps()
        left = set(self.maps) - {source}
        for node in left & set(changes):
            self._add(node, changes[node])
            left.discard(node)
        whole = bool(plan.plain or plan.frontier)
        outputs = self._behind(plan, left) if whole else changes.get(self._network.output)
        if isinstance(outputs, Tensor):
            outputs = outputs.clone()
        for value in changes.values():
            self._release(value)
        if left or not isinstance(outputs, Tensor) or (self._before and not whole):
            return None
        return outputs, not whole

    def _part_maps(self) -> None:
        """See that no two maps share memory, so that none changes twice."""
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
        if self._network.spreads and kept.numel():  # only normalisations ask for it
            self._largest[node] = max(self._largest.get(node, 0.0), float(kept.abs().max()))

    def _behind(self, plan: Plan, left: set[fx.Node]) -> Tensor | None:
        """Run what follows the boxes on the whole, and keep the maps that lie there."""
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
