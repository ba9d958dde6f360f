"""Watching class scores for what makes a map wrong or empty though nothing fails."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.inference.last_operation import last_squashing
from pyadx.inference.reading import Reading, Seen
from pyadx.inference.score import as_logits, class_score, probabilities

_LIBRARY = ("pyadx.explainers", "pyadx.inference", "pyadx.evaluation")
_SUM_TOLERANCE = 1e-5  # of float32 probabilities of a scan
_FLAT = 1e-6  # share of its logit's movement that is left of a probability which cannot move
_NEAR = 1e-3  # to 0 or 1, where that and nothing else keeps a probability from moving
_NOISE = 64  # roundings of a logit that are no movement
_LARGE = 30.0  # a single logit beyond it says that something else is meant


@dataclass
class _Scan:
    """One scan: its target, first output, and how far score and logit moved when regions were filled."""

    target: int
    logit: float
    odds: float
    output: float
    score_moved: Tensor | None = field(default=None)
    logit_moved: Tensor | None = field(default=None)

    @property
    def gap(self) -> float:
        """How far the probability is from 0 or 1, whichever is nearer."""
        return float(torch.tensor(-abs(self.odds), dtype=torch.float64).sigmoid())

    @property
    def probability(self) -> str:
        """The probability, with the digits that matter."""
        if self.gap > 1e-3:
            return f"{self.gap if self.odds < 0 else 1 - self.gap:.3g}"
        if self.gap == 0:
            return "0" if self.odds < 0 else "1"
        return f"{self.gap:.1g}" if self.odds < 0 else f"1 - {self.gap:.1g}"

    def is_flat(self, eps: float) -> bool:
        """Whether the logit moved by more than its rounding, and the score did not move with it."""
        if self.score_moved is None or self.logit_moved is None:
            return False
        noise = _NOISE * eps * max(1.0, abs(self.logit))
        moved = float(self.logit_moved)
        return moved > noise and float(self.score_moved) <= _FLAT * moved


class OutputWatch:
    """Sees the class scores of one call, and warns at its end, once for each thing that is suspicious.

    Two things are: outputs that are probabilities where logits are expected, and probabilities so near to
    0 or 1 that they cannot move.

    Parameters
    ----------
    reading : Reading
        What is followed, and what the model's outputs are said to be. Outputs that are followed as they are
        (``score="output"``) may be anything: of them nothing is suspicious.
    """

    def __init__(self, reading: Reading) -> None:
        self._score, self._kind = reading.score, reading.kind
        self._scans: list[_Scan] = []
        self._awaited = True
        self._already: str | None = None
        self._place: str | None = None
        self._looked = False
        self._single = False
        self._eps = 0.0

    def next_scans(self) -> None:
        """Expect other scans; until then what begins is the same scans with another engine."""
        self._awaited = True

    def begin(self, seen: Seen, model: nn.Module, run: Callable[[Tensor], Any], scan: Tensor) -> None:
        """See the outputs of unperturbed scans.

        Parameters
        ----------
        seen : Seen
            The outputs as the model gave them, and the targets.
        model : torch.nn.Module
            In evaluation mode.
        run : callable
            How to run it once more, if its outputs may be probabilities.
        scan : Tensor
            One of the scans, ``[1, C, D, H, W]``.
        """
        if not self._awaited or self._score == "output":
            return
        self._awaited = False
        outputs, target = seen.given.detach(), seen.target
        self._single = outputs.shape[1] == 1
        self._eps = torch.finfo(torch.float64 if outputs.dtype == torch.float64 else torch.float32).eps
        logits = as_logits(outputs.double(), self._kind, outputs.dtype)
        own, odds = class_score(logits, target, "logit"), class_score(logits, target, "log_odds")
        rows = zip(target.tolist(), own.tolist(), odds.tolist(), outputs[:, 0].tolist(), strict=True)
        self._scans += [_Scan(*row) for row in rows]
        if self._kind == "logits" and self._already is None:

            def place() -> str | None:
                if not self._looked:
                    self._looked, self._place = True, last_squashing(model, run, scan)
                return self._place

            self._already = _already_probabilities(outputs, model, place)

    def moved(self, scores: Tensor, logits: Tensor) -> None:
        """See by how much the last scan's score and its target's logit moved, ``[N]`` each."""
        if not scores.numel() or self._score == "output":
            return
        scan = self._scans[-1]
        for name, change in (("score_moved", scores), ("logit_moved", logits)):
            most, before = change.detach().abs().max(), getattr(scan, name)
            setattr(scan, name, most if before is None else torch.maximum(before, most))

    def warn(self) -> None:
        """Say what was suspicious so far, and forget it."""
        stuck = sorted((scan for scan in self._scans if self._cannot_move(scan)), key=lambda s: s.gap)
        messages = [] if self._already is None else [self._already]
        if stuck:
            messages.append(self._saturated(stuck[0], len(stuck)))
        self._already = None
        self._scans = self._scans[-1:]
        for message in messages:
            warnings.warn(message, UserWarning, stacklevel=_callers_level())

    @property
    def _has_logits(self) -> bool:
        """Whether logits are at hand however near to 0 or 1 a probability is."""
        return self._kind == "logits" or (self._kind == "log_probabilities" and self._single)

    def _cannot_move(self, scan: _Scan) -> bool:
        if self._score == "logit" and self._has_logits:
            return False
        return scan.gap < self._eps or scan.is_flat(self._eps)

    def _saturated(self, scan: _Scan, count: int) -> str:
        several = f" (the nearest of {count} such scans)" if count > 1 else ""
        text = f"the probability of class {scan.target} is {scan.probability}{several}, its logit "
        text += f"{scan.logit:.3g}"
        if scan.score_moved is not None and scan.logit_moved is not None:
            kind = "the probability" if self._score == "probability" else "the score"
            text += (
                f"; with regions filled {kind} moves by at most {float(scan.score_moved):.2g}, the logit "
                f"by up to {float(scan.logit_moved):.2g}"
            )
        flat = scan.score_moved is None or float(scan.score_moved) < _FLAT
        lost = "the map is empty or flat" if flat else "smaller changes are lost from the map"
        if not self._has_logits:
            return (
                f"{text}: so near to 0 or 1 the model's own rounding decides, and {lost}; let the model "
                "return its class scores before the sigmoid or softmax, with outputs='logits'"
            )
        if scan.gap < _NEAR:
            text += f": so near to 0 or 1 a probability hardly moves, and {lost}"
        else:
            text += f": what moves all class scores alike leaves probabilities as they are, and {lost}"
        if self._kind == "logits" and self._single and abs(scan.output) > _LARGE:
            return (
                f"{text}. A single output of {scan.output:.3g} looks like a regression output, not a "
                "logit: use score='output', which follows the output as it is"
            )
        return f"{text}; use score='logit', which follows the output itself"


def _callers_level() -> int:
    """Return the ``stacklevel`` of whoever called the explainer or scorer."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_LIBRARY):
        frame, level = frame.f_back, level + 1
    return level


def _already_probabilities(
    outputs: Tensor, model: nn.Module, place: Callable[[], str | None]
) -> str | None:
    """Say that outputs taken for logits are probabilities, or their logarithms; None if they are not.

    Several classes show it by their sum. A single output between 0 and 1 may be a logit: there only a
    sigmoid at the end tells.
    """
    values, single = outputs.double(), outputs.shape[1] == 1
    low, high = float(values.min()), float(values.max())
    tolerance = max(_SUM_TOLERANCE, 4 * torch.finfo(outputs.dtype).eps)
    if low >= 0 and high <= 1:
        sums = not single and bool(((values.sum(1) - 1).abs() <= tolerance).all())
        tell = _told_probabilities if sums or single else _told_independent
    elif high <= 0 and single:
        sums, tell = False, _told_logarithms
        if not any(isinstance(module, nn.LogSigmoid) for module in model.modules()):
            return None  # half of all logits are negative
    elif high <= 0 and bool((values.logsumexp(1).abs() <= tolerance).all()):
        sums, tell = True, _told_logarithms
    else:
        return None
    where = place()
    # Half precision is too coarse for a sum to tell anything.
    if where is None and (not sums or outputs.dtype in (torch.float16, torch.bfloat16)):
        return None
    shown = ", ".join(f"{value:.4g}" for value in values[0, :4].tolist())
    shown += "" if values.shape[1] <= 4 else ", ..."
    return tell(values, f"{shown}, the result of {where}" if where else shown)


def _told_probabilities(values: Tensor, shown: str) -> str | None:
    top = int(values[0].argmax())
    again = float(probabilities(values)[0, -1 if values.shape[1] == 1 else top])
    return (
        f"the model's outputs look like probabilities already ({shown}); taken for class scores before "
        f"softmax, {float(values[0, top]):.4g} becomes a probability of {again:.4g}: use "
        "outputs='probabilities'"
    )


def _told_independent(values: Tensor, shown: str) -> str | None:
    if "igmoid" not in shown:
        return None
    return (
        f"the model's outputs look like probabilities of independent classes ({shown}); they are taken for "
        "scores before softmax of classes that exclude each other: let the model return the score before "
        "the sigmoid of one class, as a single output"
    )


def _told_logarithms(values: Tensor, shown: str) -> str | None:
    return (
        f"the model's outputs look like logarithms of probabilities ({shown}); taken for class scores "
        "before softmax, score='logit' follows them: use outputs='log_probabilities', or let the model "
        "return its class scores"
    )
