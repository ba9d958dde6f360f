"""Options that explainers share. They are checked when they are made."""

from dataclasses import dataclass
from typing import Literal, get_args

from pyadx import ops
from pyadx.inference.batching import BatchSize, check_batch_size
from pyadx.inference.reading import Reading
from pyadx.inference.score import Outputs, Score
from pyadx.inference.watch import OutputWatch

Align = Literal["stretch", "receptive_field"]


@dataclass(frozen=True)
class RunOptions:
    """Options of every explainer: the score it explains, batch size and progress bar.

    Attributes
    ----------
    score : {"probability", "logit", "log_odds", "output"}
        The score that is explained.
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns (`pyadx.inference.score.as_logits`).
    batch_size : int or "auto"
        Scans, copies or regions per batch.
    progress : bool or None
        Whether to show a progress bar; None shows one for long calls in a terminal or notebook.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.
    """

    score: Score
    outputs: Outputs
    batch_size: BatchSize
    progress: bool | None

    @property
    def reading(self) -> Reading:
        """How the model's outputs become class scores."""
        return Reading(self.score, self.outputs)

    def __post_init__(self) -> None:
        self.reading  # noqa: B018 (checks score and outputs)
        object.__setattr__(self, "batch_size", check_batch_size(self.batch_size))

    def watch(self) -> OutputWatch:
        """Return a watch that collects warnings about suspicious outputs during one call."""
        return OutputWatch(self.reading)


@dataclass(frozen=True)
class MapOptions(RunOptions):
    """Options of the CAM family: how feature maps become a heatmap.

    Attributes
    ----------
    rectify : {"abs", "relu", "none"}
        What is done to the weighted sum of feature maps.
    align : {"stretch", "receptive_field"}
        How the coarse map is placed on the scan.
    """

    rectify: ops.Rectify
    align: Align

    def __post_init__(self) -> None:
        super().__post_init__()
        ops.check_rectify(self.rectify)
        if self.align not in get_args(Align):
            raise ValueError(f"align must be one of {', '.join(get_args(Align))}, got {self.align!r}")
