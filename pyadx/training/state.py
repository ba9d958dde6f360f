"""The saved state of an unfinished training, from which it is resumed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyadx.files import replacing

_NAME = "last.pt"


@dataclass(frozen=True)
class FinishedEpochs:
    """History of a training.

    Attributes
    ----------
    rows : list of dict
        Plain numbers of each finished epoch; see `pyadx.training.loop.Epoch`.
    """

    rows: list[dict[str, Any]]


def save_state(
    folder: Path, model: nn.Module, optimizer: Any, belongs: dict[str, Any], progress: FinishedEpochs
) -> None:
    """Write weights, optimizer, random states and history; the old state is replaced last.

    Parameters
    ----------
    folder : Path
        Folder for the file ``last.pt``.
    model, optimizer
        Their ``state_dict()`` is saved.
    belongs : dict
        Plain data that identify the training.
    progress : FinishedEpochs
        History.
    """
    state = {
        "belongs": belongs,
        "rows": progress.rows,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with replacing(folder / _NAME) as (partial,):
        torch.save(state, partial)


def load_state(
    folder: Path, model: nn.Module, optimizer: Any, belongs: dict[str, Any]
) -> FinishedEpochs | None:
    """Restore model, optimizer and random states.

    Parameters
    ----------
    folder : Path
        Folder of `save_state`.
    model, optimizer
        Changed in place.
    belongs : dict
        Must be equal to that of the saved state.

    Returns
    -------
    FinishedEpochs or None
        History; ``None`` if there is no state, and nothing is changed.

    Raises
    ------
    ValueError
        If the state is damaged, or is one of another training.
    """
    path = folder / _NAME
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found, rows = state["belongs"], [dict(row) for row in state["rows"]]
    except Exception:  # torch.load raises many kinds of errors for a damaged file
        raise ValueError(f"{path}: is damaged; remove it to start again") from None
    different = sorted(name for name in {*found, *belongs} if found.get(name) != belongs.get(name))
    if different:
        raise ValueError(
            f"{path}: belongs to a training with another {', '.join(different)}; use another folder, or "
            "--overwrite to start again"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.device_count() == len(state["random_cuda"]):
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return FinishedEpochs(rows)
