"""Read a model's outputs and find the followed class, in the same way for all methods."""

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
    """A model's outputs for unchanged scans.

    Attributes
    ----------
    given : Tensor
        The checked outputs, ``[B, classes]``.
    logits : Tensor
        Class scores before softmax, ``[B, classes]``; with ``score="output"`` the outputs themselves.
    target : Tensor
        int64 ``[B]``: index of the followed class, or output, of each scan.
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
        The score that is followed (see `pyadx.inference.score.class_score`).
    kind : {"logits", "probabilities", "log_probabilities"}
        What the model returns.
    """

    score: Score
    kind: Outputs

    def __post_init__(self) -> None:
        check_score(self.score)
        check_output_kind(self.kind)

    def look(
        self, returned: object, scans: int, target: Target, model: nn.Module, *, exact: bool = False
    ) -> Seen:
        """Read the outputs for unchanged scans, and find the class to follow in each.

        Parameters
        ----------
        returned : Tensor
            What the model returned, ``[B, classes]``.
        scans : int
            Number of scans ``B``.
        target : int, str, sequence, Tensor or None
            As in `pyadx.inference.score.resolve_target`.
        model : torch.nn.Module
            The model, whose ``class_names`` may be used by ``target``.
        exact : bool
            Compute logits in float64, to keep the digits of small changes.

        Raises
        ------
        TypeError, ValueError
            If the outputs are unusable or do not fit `kind`, or if there is no such class.
        """
        given = check_outputs(returned, scans, self.kind)
        if self.score != "output":
            check_are_probabilities(given.detach(), self.kind)
        logits = self.logits(given.double() if exact else given, given.dtype)
        return Seen(given, logits, resolve_target(target, logits.detach(), model, self.score))

    def again(self, returned: object, scans: int, *, exact: bool = False) -> Tensor:
        """Return class scores before softmax, ``[B, classes]``, from the outputs for changed scans."""
        given = check_outputs(returned, scans, self.kind)
        return self.logits(given.double() if exact else given, given.dtype)

    def logits(self, outputs: Tensor, computed_in: torch.dtype | None = None) -> Tensor:
        """Return class scores before softmax from checked outputs (`pyadx.inference.score.as_logits`)."""
        return outputs if self.score == "output" else as_logits(outputs, self.kind, computed_in)

    def value(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the score of each scan's target class, ``[B]``."""
        return class_score(logits, target, self.score)


def followed_score(model: nn.Module, score: Score) -> Score:
    """Return ``score``, or ``"output"`` if the model's ``card`` says that it is a regression model."""
    card = getattr(described(model, "card"), "card", None)
    return "output" if getattr(card, "task", None) == "regression" else score
