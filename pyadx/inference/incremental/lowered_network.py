"""A traced model as steps, and how many of them run on boxes; the same for all scans of one shape."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import fx

from pyadx.inference.incremental.cost import best_stop, rest_seconds
from pyadx.inference.incremental.interpreter import Interpreter, needed_for
from pyadx.inference.incremental.linear_tail import fold_linear_tail
from pyadx.inference.incremental.lowering import Lowering
from pyadx.inference.incremental.plan import Plan, centred, rounded_sides
from pyadx.inference.incremental.spread import spreads
from pyadx.inference.incremental.steps import Maps, Step
from pyadx.inference.incremental.trace import Trace


class LoweredNetwork:
    """A traced model as steps on boxes, plain operations on whole maps, and plans that combine them.

    It holds no data of a scan. It keeps the weights that steps lay out for their kernels, and the gradients
    of a linear tail: scans that share a trace share these, too.

    Parameters
    ----------
    trace : Trace
        The model.

    Attributes
    ----------
    trace : Trace
        The model.
    interpreter : Interpreter
        Runs the operations on whole maps.
    steps : tuple of Step
        The operations that can run on boxes, in order.
    output : fx.Node
        The class scores.
    local : set of fx.Node
        The nodes whose values are maps.
    spreads : mapping
        Per node, the spreads of it that the network divides by (see `pyadx.inference.incremental.spread`).
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.interpreter = Interpreter(trace)
        self._lowering = Lowering(trace)
        fold_linear_tail(self._lowering, self.interpreter)
        self.steps: tuple[Step, ...] = tuple(self._lowering.steps)
        self.output = self._lowering.resolve(trace.output)
        self.local = {node for step in self.steps if step.local for node in (step.output, *step.before)}
        self.spreads = spreads(trace.nodes, self._lowering.changing)
        self._ends = [self._remainder(self.steps[:stop]) for stop in range(len(self.steps) + 1)]
        self._rest = [rest_seconds(*end) for end in self._ends]
        self._chosen: dict[tuple[int, ...], tuple[int, float]] = {}
        self._plans: dict[int, Plan] = {}

    @classmethod
    def of(cls, trace: Trace) -> "LoweredNetwork":
        """Return the lowered network of a trace, which is made once and kept in the trace."""
        # Inference mode allows no gradients, so the steps differ.
        key = (cls, torch.is_inference_mode_enabled())
        if key not in trace.kept:
            trace.kept[key] = cls(trace)
        found: LoweredNetwork = trace.kept[key]
        return found

    @property
    def operations(self) -> Sequence[fx.Node]:
        """All operations of the network, in order."""
        return self.trace.nodes

    @property
    def furthest(self) -> Plan:
        """The plan that runs as many steps on boxes as possible."""
        return self.plan(len(self.steps))

    def seconds_left(self, stop: int = 0) -> float:
        """Predict the seconds per region of what follows the first ``stop`` steps, on whole maps."""
        return self._rest[stop]

    def named(self, maps: Maps) -> Maps:
        """Return maps under all names by which plain operations read them, aliases included."""
        return {name: maps[node] for name, node in self._lowering.names(maps).items()}

    def choose(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Choose for every region how many steps to run on boxes before whole maps take over.

        Only the size of the region's own box counts, so its score does not depend on other regions.

        Parameters
        ----------
        boxes : ndarray
            int32 ``[R, 6]``.

        Returns
        -------
        stops : ndarray
            int64 ``[R]``.
        gains : ndarray
            float64 ``[R]``: predicted time of a full forward, divided by that of the choice.
        """
        size = self.trace.input.meta["val"].shape[2:]
        sides, inverse = np.unique(rounded_sides(boxes, size), axis=0, return_inverse=True)
        fresh = np.array([s for s in sides.tolist() if tuple(s) not in self._chosen]).reshape(-1, 3)
        if len(fresh):
            grown = self.grow(centred(fresh, size), self.steps)
            stops, gains = best_stop(self.steps, grown, self._rest)
            each = zip(np.broadcast_to(stops, len(fresh)), np.broadcast_to(gains, len(fresh)), strict=True)
            for own, (stop, gain) in zip(fresh.tolist(), each, strict=True):
                self._chosen[tuple(own)] = (int(stop), float(gain))
        found = np.array([self._chosen[tuple(s)] for s in sides.tolist()]).reshape(-1, 2)
        found = found[inverse.reshape(-1)]
        return found[:, 0].astype(np.int64), found[:, 1]

    def plan(self, stop: int) -> Plan:
        """Return the plan that runs the first ``stop`` steps on boxes."""
        if stop not in self._plans:
            plain, frontier = self._ends[stop]
            # Steps are left out if nothing that is left reads their results.
            taken = self._useful(self.steps[:stop], [*frontier, self.output])
            self._plans[stop] = Plan(taken, plain, frontier)
        return self._plans[stop]

    def grow(self, boxes: np.ndarray, steps: Sequence[Step]) -> dict[fx.Node, np.ndarray]:
        """Return the boxes of changed cells, ``[R, 6]``, in every node that steps compute on boxes."""
        grown = {self.trace.input: boxes}
        for step in steps:
            if all(node in grown for node in step.inputs):
                own = step.grow([grown[node] for node in step.inputs])
                if step.boxed:
                    grown[step.output] = own
        return grown

    def _remainder(self, steps: Sequence[Step]) -> tuple[list[fx.Node], list[fx.Node]]:
        """Return the plain operations after these steps, and the nodes whose changes they read."""
        known = {self.trace.input, *(step.output for step in steps)}
        if self.output in known:
            return [], []
        rest = needed_for(self.output, self.trace.nodes, set(self._lowering.names(known)))
        inside = set(rest)
        read = {self._lowering.resolve(n) for node in rest for n in node.all_input_nodes if n not in inside}
        return rest, [n for n in (self.trace.input, *(s.output for s in steps)) if n in read]

    @staticmethod
    def _useful(steps: Sequence[Step], wanted: Sequence[fx.Node]) -> list[Step]:
        """Return the steps that the wanted nodes depend on."""
        needed, taken = set(wanted), []
        for step in reversed(steps):
            if step.output in needed:
                taken.append(step)
                needed.update(step.inputs)
        return taken[::-1]
