"""From a model's outputs to one number per scan: the class score that explainers explain."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.inference.wrappers import described
from pyadx.ops.numbers import real_number, whole_number

Score = Literal["probability", "logit", "log_odds", "output"]
Outputs = Literal["logits", "probabilities", "log_probabilities"]
Target = int | str | None | Sequence[int | str | None] | np.ndarray | Tensor


def check_score(score: str) -> None:
    """Raise ``ValueError`` unless ``score`` is a known kind."""
    if score not in get_args(Score):
        raise ValueError(f"score must be one of {', '.join(get_args(Score))}, got {score!r}")


def check_output_kind(outputs: str) -> None:
    """Raise ``ValueError`` unless ``outputs`` is a known kind."""
    if outputs not in get_args(Outputs):
        raise ValueError(f"outputs must be one of {', '.join(get_args(Outputs))}, got {outputs!r}")


def as_logits(outputs: Tensor, kind: Outputs, computed_in: torch.dtype | None = None) -> Tensor:
    """Return class scores before softmax: what the sigmoid or softmax of `probabilities` inverts.

    Everything that follows a class, by gradients or by occlusion, goes through here. Softmax removes a
    constant from the scores of each scan, which cannot be had back: the scores of several classes are the
    logarithms of their probabilities.

    So that logits stay finite, a probability of exactly 0 counts as the smallest normal number of its
    dtype, a single one of exactly 1 as the largest number below 1, and a single logarithm of exactly 0 as
    minus the smallest normal number.

    Parameters
    ----------
    outputs : Tensor
        The model's outputs, ``[B, classes]``; a single one speaks for class 1.
    kind : {"logits", "probabilities", "log_probabilities"}
        What they are.
    computed_in : torch.dtype, optional
        What the model computed them in, if they were converted since.

    Returns
    -------
    Tensor
        ``[B, classes]``; the outputs themselves if they are logits, otherwise at least float32.
    """
    if kind == "logits":
        return outputs
    limits = torch.finfo(computed_in or outputs.dtype)
    if outputs.dtype in (torch.float16, torch.bfloat16):
        outputs = outputs.float()
    if kind == "probabilities":
        if outputs.shape[1] > 1:
            return outputs.clamp(min=limits.tiny).log()
        shares = outputs.clamp(limits.tiny, 1 - limits.eps / 2)
        return shares.log() - (-shares).log1p()
    least = float(np.log(limits.tiny))
    if outputs.shape[1] > 1:
        return outputs.clamp(min=least)
    logs = outputs.clamp(least, -limits.tiny)
    return logs - (-logs.expm1()).log()


def class_index(name: Any, classes: int, names: Sequence[str] | None, what: str = "classes") -> int:
    """Return the index of a class given by index or by name.

    Parameters
    ----------
    name : str or whole number
        Of Python, NumPy or torch.
    classes : int
        How many there are.
    names : sequence of str, optional
        What they are called.
    what : str
        What to call them in errors: classes, or outputs.

    Raises
    ------
    TypeError, ValueError
        If there is no such class, or names are not known.
    """
    if isinstance(name, str):
        if names is None:
            raise ValueError(
                f"target {name!r} is a name, but the model has no class_names; give a class index"
            )
        if name not in names:
            raise ValueError(f"unknown target {name!r}; the model's {what} are {', '.join(names)}")
        return list(names).index(name)
    index = _whole(name)
    if not 0 <= index < classes:
        there = f"{what} 0 to {classes - 1}" if classes > 1 else f"one of the {what}, 0"
        raise ValueError(f"target {index} is out of range: the model has {there}")
    return index


def targets_per_scan(target: Target, scans: int) -> list[int | str | None]:
    """Return one target for each scan.

    Raises
    ------
    TypeError, ValueError
        If the target is neither one class nor a sequence of one class, or of one per scan.
    """
    given: Any = target
    if isinstance(given, np.ndarray | Tensor):
        given = given.reshape(-1).tolist()
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = [given]
    if len(given) not in (1, scans):
        raise ValueError(f"got {len(given)} targets for {scans} scans; give one, or one per scan")
    classes = [own if own is None or isinstance(own, str) else _whole(own) for own in given]
    return classes * (scans if len(classes) == 1 else 1)


def _whole(target: Any) -> int:
    """Return a class index as an ``int``; 2.0 is one, as tables of labels have it, and 0.7 is not."""
    index = int(target) if isinstance(target, bool) else whole_number(target)
    if index is None:
        number = real_number(target)
        if number is None or not number.is_integer():
            raise TypeError(f"target must be a class index or name, or one per scan, got {target!r}")
        index = int(number)
    return index


def resolve_target(target: Target, outputs: Tensor, model: nn.Module, score: Score = "logit") -> Tensor:
    """Return one class index per scan, or one index of an output where outputs are followed.

    Parameters
    ----------
    target : int, str, sequence, Tensor or None
        One class for all scans, or one per scan; names are looked up in the model's ``class_names``;
        ``None`` takes the class that the model predicts for each scan.
    outputs : Tensor
        Class scores before softmax, ``[B, classes]`` (`as_logits`). A single one is the logit of class 1
        against 0.
    model : torch.nn.Module
        Where ``class_names`` are looked up, and in what it wraps.
    score : {"probability", "logit", "log_odds", "output"}
        With ``output`` targets are indices of outputs: a single one is 0, and ``None`` takes it.

    Returns
    -------
    Tensor
        int64 ``[B]`` on the device of ``outputs``.

    Raises
    ------
    ValueError
        If a class does not exist or the number of targets is not the number of scans.
    """
    targets = targets_per_scan(target, outputs.shape[0])
    if score == "output":
        return _output_indices(targets, outputs, model)
    predicted = _class_logits(outputs).argmax(1)
    if all(own is None for own in targets):
        return predicted
    names = getattr(described(model, "class_names"), "class_names", None)
    classes = max(2, outputs.shape[1])
    indices = [
        int(predicted[scan]) if own is None else class_index(own, classes, names)
        for scan, own in enumerate(targets)
    ]
    return torch.tensor(indices, device=outputs.device)


def _output_indices(targets: list[int | str | None], outputs: Tensor, model: nn.Module) -> Tensor:
    """Return the index of the output that is followed in each scan."""
    names = getattr(described(model, "class_names"), "class_names", None)
    count = outputs.shape[1]
    if count > 1 and None in targets:
        raise ValueError(
            f"score='output' of a model with {count} outputs needs a target: an index from 0 to {count - 1}"
        )
    indices = [0 if own is None else class_index(own, count, names, "outputs") for own in targets]
    return torch.tensor(indices, device=outputs.device)


def _class_logits(outputs: Tensor) -> Tensor:
    """Class scores with two columns for a single output: its negative speaks for class 0."""
    return outputs if outputs.shape[1] > 1 else torch.cat([-outputs, outputs], 1)


def probabilities(outputs: Tensor) -> Tensor:
    """Return the probability of every class.

    Parameters
    ----------
    outputs : Tensor
        Class scores before softmax, ``[B, classes]``. A single output is the logit of class 1 against
        class 0 (sigmoid); two or more are softmaxed together, whatever the number of input channels.

    Returns
    -------
    Tensor
        ``[B, classes]``; two columns for a single output.
    """
    if outputs.shape[1] == 1:
        return torch.cat([(-outputs).sigmoid(), outputs.sigmoid()], 1)
    return outputs.softmax(1)


def class_score(outputs: Tensor, target: Tensor, score: Score) -> Tensor:
    """Return the score of each scan's target class.

    Parameters
    ----------
    outputs : Tensor
        Class scores before softmax, ``[B, classes]``; a single one as in `probabilities`.
    target : Tensor
        int64 ``[B]``.
    score : {"probability", "logit", "log_odds", "output"}
        Softmax probability; the class score before softmax; ``log p - log(1 - p)``, which stays as it
        is when all logits shift, and does not flatten where ``p`` comes near to 0 or 1; or the output
        itself, whatever it means, for networks that predict a number (regression).

    Returns
    -------
    Tensor
        ``[B]``. Log-odds of a single output are the output or its negative.
    """
    if score == "output":
        scores = outputs
    elif score == "probability":
        scores = probabilities(outputs)
    elif score == "logit" or outputs.shape[1] == 1:
        scores = _class_logits(outputs)
    else:
        own = outputs.gather(1, target[:, None])
        others = outputs.scatter(1, target[:, None], -torch.inf)
        return own[:, 0] - others.logsumexp(1)
    return scores.gather(1, target[:, None])[:, 0]
