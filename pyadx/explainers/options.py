"""Options that explainers share, checked where they are made."""

from dataclasses import dataclass
from typing import Literal, get_args

from pyadx import ops
from pyadx.inference.batching import BatchSize, check_batch_size
from pyadx.inference.score import Score, check_score

Align = Literal["stretch", "receptive_field"]


@dataclass(frozen=True)
class RunOptions:
    """How any explainer runs: what it follows, in which batches, and whether it shows progress."""

    score: Score
    batch_size: BatchSize
    progress: bool

    def __post_init__(self) -> None:
        check_score(self.score)
        check_batch_size(self.batch_size)


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
