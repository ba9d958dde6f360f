"""Turn a model's outputs into one number per scan: the class score that is explained."""

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

_SINGULAR = {"classes": "class", "outputs": "output"}


def check_score(score: str) -> None:
    """Raise ``ValueError`` unless ``score`` is a known kind."""
    if score not in get_args(Score):
        raise ValueError(f"score must be one of {', '.join(get_args(Score))}, got {score!r}")


def check_output_kind(outputs: str) -> None:
    """Raise ``ValueError`` unless ``outputs`` is a known kind."""
    if outputs not in get_args(Outputs):
        raise ValueError(f"outputs must be one of {', '.join(get_args(Outputs))}, got {outputs!r}")


def as_logits(outputs: Tensor, kind: Outputs, computed_in: torch.dtype | None = None) -> Tensor:
    """Return logits (class scores before softmax) that give the same probabilities as the outputs.

    All methods, gradients and occlusion alike, read a model's outputs through this function.

    Softmax does not change when a constant is added to all logits of a scan, and that constant cannot be
    recovered. The logits of two or more classes are therefore their log probabilities.

    Logits are kept finite. A probability below the smallest normal number of its dtype counts as that
    number, and a log probability below the logarithm of that number counts as that logarithm. A single
    probability is at most the largest number below 1, a single log probability at most minus the smallest
    normal number.

    Parameters
    ----------
    outputs : Tensor
        The model's outputs, ``[B, classes]``. A single output belongs to class 1.
    kind : {"logits", "probabilities", "log_probabilities"}
        What the outputs are.
    computed_in : torch.dtype, optional
        The dtype in which the model computed them, if they have been converted since.

    Returns
    -------
    Tensor
        ``[B, classes]``. Logits are returned unchanged; for other kinds the dtype is at least float32.
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
    """Return the index of a class that is given by index or by name.

    Parameters
    ----------
    name : str or whole number
        Name of the class, or its index as a number of Python, NumPy or torch.
    classes : int
        Number of classes.
    names : sequence of str, optional
        Names of the classes.
    what : {"classes", "outputs"}
        Word for them in error messages.

    Returns
    -------
    int
        From 0 to ``classes - 1``.

    Raises
    ------
    TypeError
        If ``name`` is neither a string nor a whole number.
    ValueError
        If there is no such class, or a name is given and ``names`` is not.
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
        there = f"{what} 0 to {classes - 1}" if classes > 1 else f"only {_SINGULAR[what]} 0"
        raise ValueError(f"target {index} is out of range: the model has {there}")
    return index


def targets_per_scan(target: Target, scans: int) -> list[int | str | None]:
    """Return one target for each scan.

    Raises
    ------
    TypeError, ValueError
        If the target is neither a class nor a sequence that holds one class, or one class per scan.
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
    """Return a class index as an ``int``. 2.0 is accepted, as some tables hold labels so; 0.7 is not."""
    index = int(target) if isinstance(target, bool) else whole_number(target)
    if index is None:
        number = real_number(target)
        if number is None or not number.is_integer():
            raise TypeError(f"target must be a class index or name, or one per scan, got {target!r}")
        index = int(number)
    return index


def resolve_target(target: Target, outputs: Tensor, model: nn.Module, score: Score = "logit") -> Tensor:
    """Return the index of the class that is followed in each scan, or of the output.

    Parameters
    ----------
    target : int, str, sequence, Tensor or None
        One class for all scans, or one per scan. Names are looked up in the model's ``class_names``.
        ``None`` takes the class that the model predicts for each scan.
    outputs : Tensor
        Class scores before softmax, ``[B, classes]`` (`as_logits`). A single one is the logit of class 1
        against class 0.
    model : torch.nn.Module
        The model, or a wrapper around it, that has the ``class_names``.
    score : {"probability", "logit", "log_odds", "output"}
        With ``output`` a target is the index or name of an output, and ``None`` takes the only output.

    Returns
    -------
    Tensor
        int64 ``[B]`` on the device of ``outputs``.

    Raises
    ------
    TypeError
        If a target is neither a name, nor a whole number, nor None.
    ValueError
        If a class does not exist, if the number of targets is neither 1 nor the number of scans, or if
        ``score`` is ``output``, there are several outputs and the target is None.
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
    """Return one logit per class. The negative of a single output is the logit of class 0."""
    return outputs if outputs.shape[1] > 1 else torch.cat([-outputs, outputs], 1)


def probabilities(outputs: Tensor) -> Tensor:
    """Return the probability of every class.

    Parameters
    ----------
    outputs : Tensor
        Class scores before softmax, ``[B, classes]``. A single output is the logit of class 1 against
        class 0 (sigmoid). Softmax is taken over two or more.

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
        ``probability`` is the probability ``p`` of the class, ``logit`` the class score before softmax.
        ``log_odds`` is ``log p - log(1 - p)``: it does not change when a constant is added to all logits,
        and does not flatten as ``p`` approaches 0 or 1. ``output`` is the output itself, for networks
        that predict a number (regression).

    Returns
    -------
    Tensor
        ``[B]``. The log odds of a single output are the output (class 1) or its negative (class 0).
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
