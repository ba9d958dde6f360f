"""What every explainer is: options that are declared once, and results that carry all that was found."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from pyadx.explainers.registry import method_of
from pyadx.explainers.spelling import MethodSpec
from pyadx.inference.score import Target, probabilities


class Report(Protocol):
    """How the map of one scan came about; methods differ in what there is to say."""

    @property
    def evaluations(self) -> int:
        """How often the network would run if the method were done plainly."""

    @property
    def evaluated(self) -> int:
        """How many of these evaluations were done, most of them by a share of a forward pass."""

    @property
    def approximate(self) -> bool:
        """Whether some evaluations were estimated instead of done."""

    def facts(self) -> dict[str, Any]:
        """Return plain data for sidecars."""

    def summary(self) -> str:
        """Return one line for people; empty if there is nothing to say."""


@dataclass(frozen=True)
class SinglePass:
    """Report of a method that needs one pass through the network, or one for each layer."""

    evaluations: int = 1
    approximate: bool = False

    @property
    def evaluated(self) -> int:
        """All of them."""
        return self.evaluations

    def facts(self) -> dict[str, Any]:
        """Nothing beyond the method's options."""
        return {}

    def summary(self) -> str:
        """Nothing to say."""
        return ""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Heatmaps of a batch of scans, and all that was found on the way.

    Attributes
    ----------
    heatmap : Tensor
        float32 ``[B, D, H, W]`` on the volume's device.
    outputs : Tensor
        The model's class scores before softmax, ``[B, classes]``.
    targets : Tensor
        int64 ``[B]``: index of the class that was explained.
    reports : tuple of Report
        How the map of each scan came about.
    method : str
        Canonical spelling; `pyadx.explainer` reads it.
    options : dict
        All options of the method, those that have their defaults, too.
    """

    heatmap: Tensor
    outputs: Tensor
    targets: Tensor
    reports: tuple[Report, ...]
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prediction(self) -> Tensor:
        """What the model says of each scan.

        With ``score="output"`` the value that was followed, in the model's units, ``[B]``; otherwise the
        probability of every class, ``[B, classes]``.
        """
        if self.options.get("score") == "output":
            return self.outputs.gather(1, self.targets.to(self.outputs.device)[:, None])[:, 0]
        return probabilities(self.outputs)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.heatmap.shape))
        return f"Explanation({self.method!r}, heatmap {shape}, targets {self.targets.tolist()})"


class Explainer(ABC):
    """One method on one model.

    Call it for the heatmap alone; `run` returns the heatmap with class scores, targets, reports and the
    method's spelling.

    Subclasses are entered into the list of methods with `pyadx.explainers.registry.method`. They keep every
    declared option as an attribute of the same name.
    """

    model: nn.Module

    @property
    def resumable(self) -> bool:
        """Whether `run` takes ``store`` and ``resume``, so that an interrupted run can go on."""
        return False

    @property
    def spec(self) -> MethodSpec:
        """The method with all its options."""
        method = method_of(type(self))
        return MethodSpec(method, {name: getattr(self, name) for name in method.options})

    def __call__(self, volume: Any, target: Target = None, *arguments: Any, **named: Any) -> Tensor:
        """Return the heatmap alone; see `run`, which takes the same arguments."""
        return self.run(volume, target, *arguments, **named).heatmap

    @abstractmethod
    def run(self, volume: Any, target: Target = None, *arguments: Any, **named: Any) -> Explanation:
        """Explain one scan or a batch of scans."""

    def _explanation(
        self, heatmap: Tensor, outputs: Tensor, targets: Tensor, reports: tuple[Report, ...]
    ) -> Explanation:
        spec = self.spec
        return Explanation(heatmap, outputs, targets, reports, spec.canonical, dict(spec.options))
