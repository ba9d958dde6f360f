"""From a model's outputs to one number per scan: the class score that explainers explain."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Score = Literal["probability", "logit"]
Target = int | str | None | Sequence[int | str | None] | Tensor


def check_score(score: str) -> None:
    """Raise ``ValueError`` unless ``score`` is a known kind."""
    if score not in get_args(Score):
        raise ValueError(f"score must be 'probability' or 'logit', got {score!r}")


def check_outputs(outputs: object, batch: int) -> Tensor:
    """Check that a model gave finite class scores ``[B, classes]``.

    Raises
    ------
    TypeError, ValueError
        If it gave something else, or NaN or infinity.
    """
    if not isinstance(outputs, Tensor):
        raise TypeError(
            "the model must return one tensor [B, classes], got "
            f"{type(outputs).__name__}; wrap it so that it returns the class scores only"
        )
    if outputs.dim() != 2 or outputs.shape[0] != batch or outputs.shape[1] < 1:
        raise ValueError(
            f"the model must return [B, classes] for {batch} scans, got {tuple(outputs.shape)}"
        )
    if not torch.isfinite(outputs).all():
        raise ValueError("the model's output holds NaN or infinity; check its weights and the scan")
    return outputs


def class_index(name: int | str, classes: int, names: Sequence[str] | None) -> int:
    """Return the index of a class given by index or by name.

    Raises
    ------
    ValueError
        If there is no such class, or names are not known.
    """
    if isinstance(name, str):
        if names is None:
            raise ValueError(
                f"target {name!r} is a name, but the model has no class_names; give a class index"
            )
        if name not in names:
            raise ValueError(f"unknown target {name!r}; the model's classes are {', '.join(names)}")
        return list(names).index(name)
    index = int(name)
    if not 0 <= index < classes:
        raise ValueError(f"target {index} is out of range: the model has classes 0 to {classes - 1}")
    return index


def targets_per_scan(target: Target, scans: int) -> list[int | str | None]:
    """Return one target for each scan.

    Raises
    ------
    TypeError, ValueError
        If the target is neither one class nor a sequence of one class, or of one per scan.
    """
    if target is None or isinstance(target, int | str):
        return [target] * scans
    if isinstance(target, Tensor):
        target = target.reshape(-1).tolist()
    if not isinstance(target, Sequence):
        raise TypeError(f"target must be a class or one class per scan, got {type(target).__name__}")
    if len(target) not in (1, scans):
        raise ValueError(f"got {len(target)} targets for {scans} scans; give one, or one per scan")
    return list(target) * (scans if len(target) == 1 else 1)


def resolve_target(target: Target, outputs: Tensor, model: nn.Module) -> Tensor:
    """Return one class index per scan.

    Parameters
    ----------
    target : int, str, sequence, Tensor or None
        One class for all scans, or one per scan; names are looked up in the model's ``class_names``;
        ``None`` takes the class that the model predicts for each scan.
    outputs : Tensor
        The model's outputs ``[B, classes]``. A single output is the logit of class 1 against 0.
    model : torch.nn.Module
        Where ``class_names`` are looked up.

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
    predicted = _class_logits(outputs).argmax(1)
    if all(own is None for own in targets):
        return predicted
    names = getattr(model, "class_names", None)
    classes = max(2, outputs.shape[1])
    indices = [
        int(predicted[scan]) if own is None else class_index(own, classes, names)
        for scan, own in enumerate(targets)
    ]
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
    score : {"probability", "logit"}
        Softmax probability, or the class score before softmax.

    Returns
    -------
    Tensor
        ``[B]``.
    """
    scores = probabilities(outputs) if score == "probability" else _class_logits(outputs)
    return scores.gather(1, target[:, None])[:, 0]
