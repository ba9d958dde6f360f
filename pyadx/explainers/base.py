"""Base classes of explainers and of what they return."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from pyadx.explainers.registry import method_of
from pyadx.explainers.spelling import MethodSpec
from pyadx.inference.score import Target, probabilities


class Report(Protocol):
    """Facts about how the map of one scan was made. Methods have report classes of their own."""

    @property
    def evaluations(self) -> int:
        """Network evaluations that a plain implementation of the method would take."""

    @property
    def evaluated(self) -> int:
        """Evaluations that were carried out; most cost only a fraction of a forward pass."""

    @property
    def approximate(self) -> bool:
        """Whether some evaluations were estimated instead of carried out."""

    def facts(self) -> dict[str, Any]:
        """Return plain data for the JSON sidecar."""

    def summary(self) -> str:
        """Return a one-line summary for people, or an empty string if there is nothing to say."""


@dataclass(frozen=True)
class SinglePass:
    """Report of a method that takes one pass through the network, or one per layer."""

    evaluations: int = 1
    approximate: bool = False

    @property
    def evaluated(self) -> int:
        """The same as `evaluations`: none is saved."""
        return self.evaluations

    def facts(self) -> dict[str, Any]:
        """Return an empty dict: there is nothing to add to the method's options."""
        return {}

    def summary(self) -> str:
        """Return an empty string."""
        return ""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Heatmaps of a batch of scans, with class scores, targets and reports.

    Attributes
    ----------
    heatmap : Tensor
        float32 ``[B, D, H, W]`` on the volume's device; ``[B, L, D, H, W]`` for L > 1 layers of a method
        of the CAM family.
    outputs : Tensor
        The model's class scores before softmax, ``[B, classes]``.
    targets : Tensor
        int64 ``[B]``: index of the class that was explained.
    reports : tuple of Report
        How the map of each scan was made.
    method : str
        Canonical spelling of the method, as `pyadx.explainer` reads it.
    options : dict
        All options of the method by name, including those left at their defaults.
    """

    heatmap: Tensor
    outputs: Tensor
    targets: Tensor
    reports: tuple[Report, ...]
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prediction(self) -> Tensor:
        """What the model predicts for each scan.

        With ``score="output"``: the output that was explained, in the model's units, ``[B]``. Otherwise:
        the probability of every class, ``[B, classes]``.
        """
        if self.options.get("score") == "output":
            return self.outputs.gather(1, self.targets.to(self.outputs.device)[:, None])[:, 0]
        return probabilities(self.outputs)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.heatmap.shape))
        return f"Explanation({self.method!r}, heatmap {shape}, targets {self.targets.tolist()})"


class Explainer(ABC):
    """One method applied to one model: the base class of all explainers.

    Calling an explainer returns the heatmap alone. `run` returns it with class scores, targets, reports and
    the method's spelling.

    Subclasses register with `pyadx.explainers.registry.method`. They store every declared option in an
    attribute of the same name.
    """

    model: nn.Module

    @property
    def resumable(self) -> bool:
        """Whether `run` takes ``store`` and ``resume``, which let an interrupted run continue."""
        return False

    @property
    def spec(self) -> MethodSpec:
        """The method and the values of all its options."""
        method = method_of(type(self))
        return MethodSpec(method, {name: getattr(self, name) for name in method.options})

    def __call__(self, volume: Any, target: Target = None, *arguments: Any, **named: Any) -> Tensor:
        """Return the heatmap alone. Takes the same arguments as `run`."""
        return self.run(volume, target, *arguments, **named).heatmap

    @abstractmethod
    def run(self, volume: Any, target: Target = None, *arguments: Any, **named: Any) -> Explanation:
        """Explain one scan or a batch of scans."""

    def _explanation(
        self, heatmap: Tensor, outputs: Tensor, targets: Tensor, reports: tuple[Report, ...]
    ) -> Explanation:
        spec = self.spec
        return Explanation(heatmap, outputs, targets, reports, spec.canonical, dict(spec.options))
