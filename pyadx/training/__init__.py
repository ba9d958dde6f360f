"""Training: the paper's protocols, balanced batches, a resumable loop, and cross-validation."""

from pyadx.training.crossval import Summary, run_rounds, summarise
from pyadx.training.loop import Epoch, Trained, train
from pyadx.training.protocols import PROTOCOLS, Protocol, paper_protocol, read_protocol, with_changes
from pyadx.training.rounds import Hardware, Recipe, run_round

__all__ = [
    "PROTOCOLS",
    "Epoch",
    "Hardware",
    "Protocol",
    "Recipe",
    "Summary",
    "Trained",
    "paper_protocol",
    "read_protocol",
    "run_round",
    "run_rounds",
    "summarise",
    "train",
    "with_changes",
]
