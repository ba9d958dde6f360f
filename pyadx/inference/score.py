"""From a model's outputs to one number per scan: the class score that explainers explain."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Score = Literal["probability", "logit"]
Target = int | str | Sequence[int | str] | Tensor | None


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


def _class_index(name: int | str, classes: int, names: Sequence[str] | None) -> int:
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
    batch, columns = outputs.shape
    classes = max(2, columns)
    if target is None:
        return outputs.argmax(1) if columns > 1 else (outputs[:, 0] > 0).long()
    names = getattr(model, "class_names", None)
    if isinstance(target, Tensor):
        target = target.reshape(-1).tolist()
    if isinstance(target, int | str):
        target = [target] * batch
    indices = [_class_index(name, classes, names) for name in target]
    if len(indices) == 1:
        indices = indices * batch
    if len(indices) != batch:
        raise ValueError(f"got {len(indices)} targets for {batch} scans; give one, or one per scan")
    return torch.tensor(indices, device=outputs.device)


def class_score(outputs: Tensor, target: Tensor, score: Score) -> Tensor:
    """Return the score of each scan's target class.

    Parameters
    ----------
    outputs : Tensor
        Class scores before softmax, ``[B, classes]``. A single output is the logit of class 1 against
        class 0 (sigmoid); two or more are softmaxed together, whatever the number of input channels.
    target : Tensor
        int64 ``[B]``.
    score : {"probability", "logit"}
        Softmax probability, or the class score before softmax.

    Returns
    -------
    Tensor
        ``[B]``.
    """
    if outputs.shape[1] == 1:
        logit = torch.where(target == 1, outputs[:, 0], -outputs[:, 0])
        return logit.sigmoid() if score == "probability" else logit
    if score == "probability":
        outputs = outputs.softmax(1)
    return outputs.gather(1, target[:, None])[:, 0]
