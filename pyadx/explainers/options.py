"""Options that explainers share, checked where they are made."""

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
    """How any explainer runs: what it follows, in which batches, and whether it shows progress.

    ``outputs`` says what the model returns (`pyadx.inference.score.as_logits`).
    """

    score: Score
    outputs: Outputs
    batch_size: BatchSize
    progress: bool | None

    @property
    def reading(self) -> Reading:
        """How the model's outputs are read."""
        return Reading(self.score, self.outputs)

    def __post_init__(self) -> None:
        self.reading  # noqa: B018 (checks score and outputs)
        object.__setattr__(self, "batch_size", check_batch_size(self.batch_size))

    def watch(self) -> OutputWatch:
        """Return what sees suspicious outputs during one call."""
        return OutputWatch(self.reading)


@dataclass(frozen=True)
class MapOptions(RunOptions):
    """How the CAM family turns feature maps into a heatmap."""

    rectify: ops.Rectify
    align: Align

    def __post_init__(self) -> None:
        super().__post_init__()
        ops.check_rectify(self.rectify)
        if self.align not in get_args(Align):
            raise ValueError(f"align must be one of {', '.join(get_args(Align))}, got {self.align!r}")
