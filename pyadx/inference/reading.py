"""From what a model returns to the class that is followed: the one way all methods go."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyadx.inference.outputs import check_are_probabilities, check_outputs
from pyadx.inference.score import (
    Outputs,
    Score,
    Target,
    as_logits,
    check_output_kind,
    check_score,
    class_score,
    resolve_target,
)
from pyadx.inference.wrappers import described


class Seen(NamedTuple):
    """What a model says of unchanged scans.

    Attributes
    ----------
    given : Tensor
        Its outputs, checked, ``[B, classes]``.
    logits : Tensor
        Class scores before softmax, ``[B, classes]``; with ``score="output"`` the outputs.
    target : Tensor
        int64 ``[B]``: the class, or output, that is followed.
    """

    given: Tensor
    logits: Tensor
    target: Tensor


@dataclass(frozen=True)
class Reading:
    """How a model's outputs are read.

    Attributes
    ----------
    score : {"probability", "logit", "log_odds", "output"}
        What is followed.
    kind : {"logits", "probabilities", "log_probabilities"}
        What the outputs are.
    """

    score: Score
    kind: Outputs

    def __post_init__(self) -> None:
        check_score(self.score)
        check_output_kind(self.kind)

    def look(
        self, returned: object, scans: int, target: Target, model: nn.Module, *, exact: bool = False
    ) -> Seen:
        """Read the outputs of unchanged scans, and find the class that is followed in each.

        Parameters
        ----------
        returned : Tensor
            What the model gave, ``[B, classes]``.
        scans : int
            B.
        target : int, str, sequence, Tensor or None
            As `pyadx.inference.score.resolve_target` takes it.
        model : torch.nn.Module
            Where class names are looked up.
        exact : bool
            Read them in float64, so that small changes keep their digits.

        Raises
        ------
        TypeError, ValueError
            If the outputs are not what they are said to be, or there is no such class.
        """
        given = check_outputs(returned, scans, self.kind)
        if self.score != "output":
            check_are_probabilities(given.detach(), self.kind)
        logits = self.logits(given.double() if exact else given, given.dtype)
        return Seen(given, logits, resolve_target(target, logits.detach(), model, self.score))

    def again(self, returned: object, scans: int, *, exact: bool = False) -> Tensor:
        """Read the outputs of changed scans; class scores before softmax ``[B, classes]``."""
        given = check_outputs(returned, scans, self.kind)
        return self.logits(given.double() if exact else given, given.dtype)

    def logits(self, outputs: Tensor, computed_in: torch.dtype | None = None) -> Tensor:
        """Return class scores before softmax of checked outputs, as `pyadx.inference.score.as_logits`."""
        return outputs if self.score == "output" else as_logits(outputs, self.kind, computed_in)

    def value(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the score ``[B]`` of each scan's class."""
        return class_score(logits, target, self.score)


def followed_score(model: nn.Module, score: Score) -> Score:
    """Return what is followed in a model: its output itself if its ``card`` says regression."""
    card = getattr(described(model, "card"), "card", None)
    return "output" if getattr(card, "task", None) == "regression" else score
