"""Watch class scores for signs of a wrong or empty map that raises no error."""

import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.inference.adapted import inside_of
from pyadx.inference.last_operation import last_squashing
from pyadx.inference.reading import Reading, Seen
from pyadx.inference.score import as_logits, class_score, probabilities

_LIBRARY = ("pyadx.explainers", "pyadx.inference", "pyadx.evaluation")
_SUM_TOLERANCE = 1e-5  # how far the sum of a scan's float32 probabilities may be from 1
_FLAT = 1e-6  # a score is flat if it moves by at most this share of its logit's movement
_NEAR = 1e-3  # distance from 0 or 1 below which saturation explains why a probability does not move
_NOISE = 64  # a logit has moved only if by more than this many of its rounding errors
_negative_logits: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()  # known not to end in a log-sigmoid
_LARGE = 30.0  # a single output beyond this is unlikely to be a logit


@dataclass
class _Scan:
    """One scan: its target, logit, log odds and first output, and the largest moves of score and logit."""

    target: int
    logit: float
    odds: float
    output: float
    score_moved: Tensor | None = field(default=None)
    logit_moved: Tensor | None = field(default=None)

    @property
    def gap(self) -> float:
        """Distance of the probability from 0 or 1, whichever is nearer."""
        return float(torch.tensor(-abs(self.odds), dtype=torch.float64).sigmoid())

    @property
    def probability(self) -> str:
        """The probability as text, with enough digits to tell it from 0 or 1."""
        if self.gap > 1e-3:
            return f"{self.gap if self.odds < 0 else 1 - self.gap:.3g}"
        if self.gap == 0:
            return "0" if self.odds < 0 else "1"
        return f"{self.gap:.1g}" if self.odds < 0 else f"1 - {self.gap:.1g}"

    def is_flat(self, eps: float) -> bool:
        """Whether the logit moved by more than its rounding error while the score did not move."""
        if self.score_moved is None or self.logit_moved is None:
            return False
        noise = _NOISE * eps * max(1.0, abs(self.logit))
        moved = float(self.logit_moved)
        return moved > noise and float(self.score_moved) <= _FLAT * moved


class OutputWatch:
    """Collects the class scores of one call, and warns at its end, once for each suspicious finding.

    There are two findings: outputs that are probabilities although logits are expected, and probabilities
    so close to 0 or 1 that they cannot move.

    Parameters
    ----------
    reading : Reading
        Which score is followed, and what the model is said to return. With ``score="output"`` outputs may
        have any value, and nothing is suspicious.
    """

    def __init__(self, reading: Reading) -> None:
        self._score, self._kind = reading.score, reading.kind
        self._scans: list[_Scan] = []
        self._expects_scans = True
        self._kind_message: str | None = None
        self._place: str | None = None
        self._looked = False
        self._single = False
        self._eps = 0.0

    def next_scans(self) -> None:
        """Expect new scans. Until this is called, `begin` ignores calls: they repeat the same scans."""
        self._expects_scans = True

    def begin(self, seen: Seen, model: nn.Module, run: Callable[[Tensor], Any], scan: Tensor) -> None:
        """Record the outputs for unperturbed scans.

        Parameters
        ----------
        seen : Seen
            The checked outputs, and the targets.
        model : torch.nn.Module
            The model, in evaluation mode.
        run : callable
            Runs the model once more, if its outputs may be probabilities.
        scan : Tensor
            One of the scans, ``[1, C, D, H, W]``.
        """
        if not self._expects_scans or self._score == "output":
            return
        self._expects_scans = False
        outputs, target = seen.given.detach(), seen.target
        self._single = outputs.shape[1] == 1
        self._eps = torch.finfo(torch.float64 if outputs.dtype == torch.float64 else torch.float32).eps
        logits = as_logits(outputs.double(), self._kind, outputs.dtype)
        own, odds = class_score(logits, target, "logit"), class_score(logits, target, "log_odds")
        rows = zip(target.tolist(), own.tolist(), odds.tolist(), outputs[:, 0].tolist(), strict=True)
        self._scans += [_Scan(*row) for row in rows]
        if self._kind == "logits" and self._kind_message is None:

            def place() -> str | None:
                if not self._looked:
                    self._looked, self._place = True, last_squashing(model, run, scan)
                return self._place

            self._kind_message = _wrong_kind_message(outputs, model, place)

    def moved(self, scores: Tensor, logits: Tensor) -> None:
        """Record by how much the last scan's score and its target's logit moved, ``[N]`` each."""
        if not scores.numel() or self._score == "output":
            return
        scan = self._scans[-1]
        for name, change in (("score_moved", scores), ("logit_moved", logits)):
            most, before = change.detach().abs().max(), getattr(scan, name)
            setattr(scan, name, most if before is None else torch.maximum(before, most))

    def warn(self) -> None:
        """Issue a warning for each suspicious finding so far, and forget it."""
        stuck = sorted((scan for scan in self._scans if self._cannot_move(scan)), key=lambda s: s.gap)
        messages = [] if self._kind_message is None else [self._kind_message]
        if stuck:
            messages.append(self._saturated(stuck[0], len(stuck)))
        self._kind_message = None
        self._scans = self._scans[-1:]
        for message in messages:
            warnings.warn(message, UserWarning, stacklevel=_callers_level())

    @property
    def _has_logits(self) -> bool:
        """Whether logits keep their digits, however close to 0 or 1 the probability is."""
        return self._kind == "logits" or (self._kind == "log_probabilities" and self._single)

    def _cannot_move(self, scan: _Scan) -> bool:
        if self._score == "logit" and self._has_logits:
            return False
        return scan.gap < self._eps or scan.is_flat(self._eps)

    def _saturated(self, scan: _Scan, count: int) -> str:
        several = f" (the most extreme of {count} such scans)" if count > 1 else ""
        text = f"the probability of class {scan.target} is {scan.probability}{several} and its "
        text += f"logit is {scan.logit:.3g}"
        if scan.score_moved is not None and scan.logit_moved is not None:
            kind = "the probability" if self._score == "probability" else "the score"
            text += (
                f"; filling regions moves {kind} by at most {float(scan.score_moved):.2g}, and the logit "
                f"by up to {float(scan.logit_moved):.2g}"
            )
        flat = scan.score_moved is None or float(scan.score_moved) < _FLAT
        lost = "the map is empty or flat" if flat else "smaller changes are lost from the map"
        if not self._has_logits:
            return (
                f"{text}. So close to 0 or 1, the model's own rounding error dominates, and {lost}. Let "
                "the model return its class scores before the sigmoid or softmax, with outputs='logits'"
            )
        if scan.gap < _NEAR:
            text += f". So close to 0 or 1, a probability hardly moves, and {lost}"
        else:
            text += f". A shift of all class scores alike leaves probabilities unchanged, and {lost}"
        if self._kind == "logits" and self._single and abs(scan.output) > _LARGE:
            return (
                f"{text}. A single output of {scan.output:.3g} looks like a regression output, not a "
                "logit; use score='output', which follows the output itself"
            )
        return f"{text}. Use score='logit', which follows the class score before the sigmoid or softmax"


def _callers_level() -> int:
    """Return the ``stacklevel`` at which a warning points to the user's call of explainer or scorer."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_LIBRARY):
        frame, level = frame.f_back, level + 1
    return level


def _wrong_kind_message(outputs: Tensor, model: nn.Module, place: Callable[[], str | None]) -> str | None:
    """Return a warning if outputs that are read as logits are probabilities or their logarithms, else None.

    Probabilities of several classes are recognised by their sum. A single output between 0 and 1 may be a
    logit, so it counts as a probability only if the model ends in a sigmoid.
    """
    values, single = outputs.double(), outputs.shape[1] == 1
    low, high = float(values.min()), float(values.max())
    tolerance = max(_SUM_TOLERANCE, 4 * torch.finfo(outputs.dtype).eps)
    if low >= 0 and high <= 1:
        sums = not single and bool(((values.sum(1) - 1).abs() <= tolerance).all())
        message = _probabilities_message if sums or single else _independent_message
    elif high <= 0 and single:
        sums, message = False, _logarithms_message
        if inside_of(model) in _negative_logits:
            return None  # half of all logits are negative: one search for each model is enough
    elif high <= 0 and bool((values.logsumexp(1).abs() <= tolerance).all()):
        sums, message = True, _logarithms_message
    else:
        return None
    where = place()
    if where is None and message is _logarithms_message and single:
        _negative_logits.add(inside_of(model))
    # In half precision, a sum close to 1 proves nothing.
    if where is None and (not sums or outputs.dtype in (torch.float16, torch.bfloat16)):
        return None
    shown = ", ".join(f"{value:.4g}" for value in values[0, :4].tolist())
    shown += "" if values.shape[1] <= 4 else ", ..."
    return message(values, f"{shown}, the result of {where}" if where else shown)


def _probabilities_message(values: Tensor, shown: str) -> str | None:
    top = int(values[0].argmax())
    again = float(probabilities(values)[0, -1 if values.shape[1] == 1 else top])
    return (
        f"the model's outputs look like probabilities already ({shown}). Read as class scores before "
        f"softmax, {float(values[0, top]):.4g} becomes a probability of {again:.4g}; use "
        "outputs='probabilities'"
    )


def _independent_message(values: Tensor, shown: str) -> str | None:
    if "igmoid" not in shown:
        return None
    return (
        f"the model's outputs look like probabilities of independent classes ({shown}), but are read as "
        "scores before softmax of mutually exclusive classes; let the model return a single output, the "
        "score of one class before the sigmoid"
    )


def _logarithms_message(values: Tensor, shown: str) -> str | None:
    return (
        f"the model's outputs look like logarithms of probabilities ({shown}), but are read as class "
        "scores before softmax, which score='logit' would follow; use outputs='log_probabilities', or let "
        "the model return its class scores"
    )
