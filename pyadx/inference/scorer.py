"""What all scorers share: the scan, the fill values and the class that is followed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.adapted import Adapted
from pyadx.inference.baseline import Baseline
from pyadx.inference.batch.axis import State
from pyadx.inference.batch.dependence import BatchDependence, find_dependence
from pyadx.inference.batching import BatchSize, check_batch_size
from pyadx.inference.chunks import Wait, in_chunks
from pyadx.inference.forward_arguments import ForwardArguments
from pyadx.inference.model_state import Forward, evaluation_mode, tensor_float
from pyadx.inference.outputs import Output, output_of
from pyadx.inference.progress import progress_bar
from pyadx.inference.reading import Reading, followed_score
from pyadx.inference.region_fill import Filling, RegionFill
from pyadx.inference.regions import Regions, distinct_regions
from pyadx.inference.score import Outputs, Score, Target, class_score
from pyadx.inference.score_store import ScoreStore
from pyadx.inference.sharding import is_shared, score_shared
from pyadx.inference.volumes import volume_tensor
from pyadx.inference.watch import OutputWatch
from pyadx.inference.wrappers import unwrapped

if TYPE_CHECKING:
    from typing_extensions import Self

CHUNK = 1024  # regions that are scored, stored and resumed together


class Scorer(Baseline, ABC):
    """Base class: scores regions of one scan by how much filling them changes the class score.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores ``[B, classes]``. It is run in evaluation mode, and its
        state is restored afterwards.
    volume : Tensor
        One scan ``[C, D, H, W]`` or ``[1, C, D, H, W]`` on the model's device.
    target : int, str or None
        Class to follow; ``None`` takes the predicted class.
    fill : float, sequence of float, Tensor or RegionFill
        What regions are filled with (see `pyadx.ops.fill_tensor`).
    score : {"probability", "logit", "log_odds", "output"}
        As in `pyadx.inference.score.class_score`.
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or the result of a final sigmoid or softmax
        (or its logarithm). See `pyadx.inference.score.as_logits`.
    batch_size : int or "auto"
        Regions per batch; halved when memory runs out.
    progress : bool, optional
        Whether to show a progress bar with the time left. By default a terminal or notebook shows one for
        calls that take longer than two seconds.
    signed : bool
        Return ``score(scan) - score(filled scan)``, which is positive where a region supports the class,
        instead of its absolute value.
    watch : OutputWatch, optional
        Collects suspicious outputs of several scorers; its owner issues the warnings. Without it, `score`
        issues them.
    output : str or int, optional
        Which of several outputs holds the class scores; by default the one that ``model.card`` names.
    forward_args : mapping, sequence or Tensor, optional
        Further model inputs besides the scan (`pyadx.inference.forward_arguments`). They stay fixed.

    Attributes
    ----------
    target : int
        Index of the class that is followed.
    reference : float
        Score of the scan as it is now: unperturbed, unless regions were committed.

    Raises
    ------
    TypeError, ValueError
        If the volume, target or an option is invalid.
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
        progress: bool | None = None,
        signed: bool = False,
        watch: OutputWatch | None = None,
        output: Output = None,
        forward_args: Any = None,
    ) -> None:
        self._reading = Reading(followed_score(model, score), outputs)
        batch_size = check_batch_size(batch_size)
        volume = volume_tensor(volume, model)
        if volume.dim() == 5 and volume.shape[0] == 1:
            volume = volume[0]
        if volume.dim() != 4:
            raise ValueError(f"volume must be one scan [C,D,H,W], got {tuple(volume.shape)}")
        self.volume = volume.contiguous()
        self.fill: Filling = fill if isinstance(fill, RegionFill) else ops.fill_tensor(fill, self.volume)
        if isinstance(self.fill, Tensor) and not torch.isfinite(self.fill).all():
            raise ValueError("fill holds NaN or infinity; give finite values")
        self.score_kind: Score = self._reading.score
        self.output_kind: Outputs = outputs
        self.batch_size = batch_size
        self.progress = progress
        self.signed = signed
        self._settled = False
        self.model = unwrapped(model)
        given = ForwardArguments(forward_args, self.volume[None])
        self._network = Adapted(self.model, output_of(model, output), given)
        self._forward = Forward(self._network)
        self._watch = OutputWatch(self._reading) if watch is None else watch
        self._warns = watch is None
        with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
            # A copy, because a model may change its input in place.
            returned = self._forward(self.volume[None].clone())
            # In float64, to keep the digits of small changes.
            seen = self._reading.look(returned, 1, target, model, exact=True)
            self._outputs, self._logits, self._target = seen
            self._watch.begin(seen, self.model, self._forward, self.volume[None])
        self.target = int(self._target)
        self._shared = {}
        self._set_base(self._logits)
        self._shared = dict(vars(self))

    @classmethod
    def sharing(cls, other: Scorer) -> Self:
        """Return a scorer for another scorer's scan, without running the model again."""
        made = cls.__new__(cls)
        made.share(other)
        return made

    def share(self, other: Scorer) -> None:
        """Take over another scorer's scan, class and options, and the model's outputs for the scan."""
        vars(self).update(other._shared)
        self._shared = other._shared
        # These are determined later than the rest: by `settle`, or when memory runs out.
        self._settled, self.batch_size = other._settled, other.batch_size

    def settle_batches(self, known: State = None, place: Callable[[Any], str] = str) -> None:
        """Check whether class scores depend on the batch; if so, warn and score one region at a time.

        Parameters
        ----------
        known, place
            As in `pyadx.inference.batch.dependence.find_dependence`.
        """
        dependence = None
        if self.batch_size != 1:
            with evaluation_mode(self.model), torch.no_grad(), tensor_float(False):
                dependence = find_dependence(self._forward, self.volume, known, place)
        self.settle(dependence)

    def settle(self, dependence: BatchDependence | None) -> None:
        """Take the result of that check. If there is a dependence, warn and score one region at a time."""
        self._settled = True
        if dependence is not None:
            self.batch_size = 1
            dependence.tell(self.model)

    @property
    def outputs(self) -> Tensor:
        """The model's class scores before softmax for the scan as it is now, ``[1, classes]``."""
        return self._reading.logits(self._outputs)

    @property
    def adapted_facts(self) -> dict[str, Any]:
        """The chosen output, and a hash of ``forward_args``; each only if there is one."""
        _, output, arguments = self._network.key
        facts = {"output": output, "forward_args": arguments or None}
        return {name: value for name, value in facts.items() if value is not None}

    def score(self, boxes: Tensor) -> Tensor:
        """Return the change ``|score(scan) - score(scan with the box filled)|`` for every box.

        With ``signed=True`` the change keeps its sign. Boxes that change no voxel score exactly zero,
        without running the model. Boxes that change the same voxels are scored once.

        Parameters
        ----------
        boxes : Tensor
            Integers ``[B, 6]``: half-open ``z0, y0, x0, z1, y1, x1``. Clipped at the volume's border.

        Returns
        -------
        Tensor
            ``[B]``, on the volume's device, in the dtype of the model's outputs.

        Raises
        ------
        TypeError
            If the boxes are not integers.
        ValueError
            If their shape is not ``[B, 6]``.
        """
        regions = self.regions(boxes)
        scores = regions.spread(self.score_regions(regions))
        if self._warns:
            self._watch.warn()
        return scores

    def regions(self, boxes: Tensor) -> Regions:
        """Return the distinct regions that boxes ``[B, 6]`` change, given this scan and fill."""
        return distinct_regions(self.volume, boxes, self.fill)

    def score_regions(
        self,
        regions: Regions,
        store: ScoreStore | None = None,
        stop: Callable[[], bool] = lambda: False,
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Score distinct regions, one chunk after another.

        Parameters
        ----------
        regions : Regions
            From `regions`.
        store : ScoreStore, optional
            File of finished chunks. Chunks that it already holds are not scored again.
        stop : callable
            Called before each chunk is scored. Once it returns True, the remaining scores stay NaN.
        advance : callable, optional
            Called with the number of regions just scored, in place of a progress bar.

        Returns
        -------
        Tensor
            ``[R]``, on the volume's device, in the dtype of the model's outputs.

        Raises
        ------
        ValueError
            If there is a store and regions are shared among processes.
        """
        total = len(regions.boxes)
        self._prepare(regions.boxes)
        shown = self.progress if advance is None else False
        with (
            evaluation_mode(self.model),
            torch.no_grad(),
            tensor_float(False),
            progress_bar("regions scored", total, shown) as bar,
        ):
            tell = advance or bar
            if is_shared():
                if store is not None:
                    raise ValueError(
                        "a score store holds the scores of one process only; leave it out inside "
                        "shared_among_processes()"
                    )
                return score_shared(regions, lambda part: self._in_chunks(part, None, stop, tell), tell)
            return self._in_chunks(regions, store, stop, tell)

    def _in_chunks(
        self,
        regions: Regions,
        store: ScoreStore | None,
        stop: Callable[[], bool],
        tell: Callable[[int], None],
    ) -> Tensor:
        return in_chunks(
            regions,
            self._outputs.new_full((len(regions.boxes),), torch.nan),
            self._launch_chunk,
            CHUNK,
            ahead=self._ahead,
            store=store,
            stop=stop,
            tell=tell,
        )

    @property
    def _ahead(self) -> int:
        """How many chunks are launched before waiting for the scores of an earlier one."""
        return 0

    def _prepare(self, boxes: np.ndarray) -> None:
        """Get ready for regions like these."""

    def _change(self, outputs: Tensor) -> Tensor:
        """Return the change of the score, given the model's checked outputs for filled scans."""
        logits = self._reading.logits(outputs.double(), self._outputs.dtype)
        target = self._target.expand(len(logits))
        moved = self._before - class_score(logits, target, "logit")
        change = moved
        if self.score_kind != "logit":
            change = self._score_before - self._reading.value(logits, target)
        self._watch.moved(change, moved)
        return (change if self.signed else change.abs()).to(self._outputs.dtype)

    @abstractmethod
    def _launch_chunk(self, regions: Regions, advance: Callable[[int], None]) -> Wait:
        """Start scoring at most `CHUNK` regions; call ``advance`` with the number just done.

        Returns
        -------
        callable
            Waits for the scores, ``[R]``, and returns them.
        """
