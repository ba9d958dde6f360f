"""Base of all methods that use the gradient of the class score with respect to the scan's voxels."""

import math
import warnings
from abc import abstractmethod
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.base import Explainer, Explanation
from pyadx.explainers.class_gradient import ClassGradient, Copies, captum_attribution
from pyadx.explainers.gradient_report import GradientReport
from pyadx.explainers.option_kinds import number, optional
from pyadx.explainers.options import RunOptions
from pyadx.explainers.references import (
    Reference,
    in_voxels,
    plain_reference,
    reference_volume,
    references_per_scan,
)
from pyadx.explainers.references.resolve import Spacing
from pyadx.explainers.registry import Option, method_of
from pyadx.explainers.shared_options import COMPARED, OutputOption, OutputsOption, ScoreOption, SignedOption
from pyadx.explainers.volumes import check_volume
from pyadx.inference.adapted import Adapted, inside_of
from pyadx.inference.batching import BatchSize
from pyadx.inference.forward_arguments import ForwardArguments
from pyadx.inference.model_state import Forward, evaluation_mode
from pyadx.inference.outputs import output_of
from pyadx.inference.progress import progress_bar
from pyadx.inference.reading import followed_score
from pyadx.inference.score import Target, targets_per_scan
from pyadx.inference.watch import OutputWatch
from pyadx.ops.numbers import real_number
from pyadx.segmentation.checks import as_spacing

LARGEST_GAP = 0.05  # share of the score's change; a larger completeness gap is warned about

SmoothingOption = Annotated[
    float | None,
    Option("Smooth the map with a Gaussian of this standard deviation, mm.", optional(number(above=0))),
]


class GradientMethod(Explainer):
    """Gradient methods: maps at the resolution of the scan. Subclasses compute the map.

    Scans of a batch are explained one at a time.

    Parameters
    ----------
    model : torch.nn.Module
        Maps ``[B, C, D, H, W]`` to class scores before softmax ``[B, classes]``. It is run in
        evaluation mode and left as it was found.
    baseline : float, sequence of float, Tensor, str or None
        What the scan is compared with. Either a number (0 is the background of a masked scan), or one
        number per channel, or a volume ``[D, H, W]`` or ``[C, D, H, W]``, or the name of a reference:
        ``local``, ``mean``, ``controls`` or ``scan:FILE`` (`pyadx.explainers.references`). None is allowed
        only where it is the default.
    signed : bool
        True keeps the sign, which is positive where a voxel speaks for the class. False gives absolute
        values.
    smoothing : float, optional
        Standard deviation in mm of a Gaussian that smooths the map before absolute values are taken.
    score : {"log_odds", "logit", "probability", "output"}
        The score that is differentiated. ``log_odds`` is ``log p - log(1 - p)`` of the class, ``logit`` the
        class score before softmax. The gradient of ``probability`` vanishes where the probability is near 0
        or 1. ``output`` is the output itself (regression).
    outputs : {"logits", "probabilities", "log_probabilities"}
        What the model returns: class scores before softmax, or the result of a final sigmoid or softmax, or
        of a log-softmax. A call warns if that looks wrong.
    output : str or int, optional
        Name or index of the output that holds the class scores, if the model has several. By default the
        one that ``model.card`` names.
    batch_size : int or "auto"
        Copies of a scan per pass. It is halved when memory runs out.
    progress : bool, optional
        Show a progress bar with the time left. By default calls that take longer than two seconds show one
        in a terminal or notebook.
    spacing : float or sequence of float, optional
        Voxel size in mm, for smoothing and for references that smooth. Without it voxels of 2 mm are
        assumed.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.
    """

    # Name of the class of `captum.attr` that computes the map, for methods that use Captum.
    _captum: str | None = None

    def __init__(
        self,
        model: nn.Module,
        baseline: Annotated[Reference | None, COMPARED] = "local",
        *,
        signed: SignedOption = True,
        smoothing: SmoothingOption = None,
        score: ScoreOption = "log_odds",
        outputs: OutputsOption = "logits",
        output: OutputOption = None,
        batch_size: BatchSize = "auto",
        progress: bool | None = None,
        spacing: Spacing = None,
    ) -> None:
        self._run = RunOptions(followed_score(model, score), outputs, batch_size, progress)
        width = None if smoothing is None else real_number(smoothing)
        if smoothing is not None and (width is None or not 0 < width < math.inf):
            raise ValueError(f"smoothing must be a positive number of mm, got {smoothing!r}")
        self.model = model
        own = method_of(type(self))
        # None means "no baseline" for methods that have this default, and is an error for others.
        none = baseline is None and own.options["baseline"].default is None
        self.baseline = None if none else plain_reference(baseline, regions=False)
        self.signed = signed
        self.smoothing = width
        self.score = self._run.score
        self.outputs = outputs
        self.output = output_of(model, output)
        as_spacing(spacing)
        self.spacing = spacing
        if self._captum is not None:
            captum_attribution(own.name, self._captum)

    @abstractmethod
    def _attribute(self, score: ClassGradient, scan: Tensor, baseline: Tensor | None) -> tuple[Tensor, int]:
        """Return the map ``[C, D, H, W]`` of a scan of the same shape, and the number of passes."""

    @property
    def _advice(self) -> str | None:
        """How to reduce the completeness gap, for the warning. None if the method has no completeness."""
        return None

    def run(
        self,
        volume: Tensor | np.ndarray,
        target: Target = None,
        *,
        reference: Any = None,
        forward_args: Any = None,
    ) -> Explanation:
        """Explain one scan or a batch of scans.

        Parameters
        ----------
        volume : Tensor or numpy.ndarray
            ``[B, C, D, H, W]`` or ``[C, D, H, W]``. Floating-point tensors must have the model's device and
            dtype. Arrays and integer tensors are converted.
        target : int, str, sequence, array or None
            Class to explain, for all scans or one per scan. ``None`` takes the predicted class of each
            scan.
        reference : array or Tensor, optional
            With ``baseline="scan:FILE"``: the volume of the file on the scan's voxel grid, ``[D, H, W]``,
            or ``[B, D, H, W]`` for one per scan. With several channels ``[C, D, H, W]``, or
            ``[B, C, D, H, W]``.
        forward_args : mapping, sequence or Tensor, optional
            Further inputs of the model (`pyadx.inference.forward_arguments`). They stay fixed.

        Returns
        -------
        Explanation
            With a `GradientReport` per scan. Maps are summed over channels.

        Raises
        ------
        TypeError, ValueError
            If the volume, target or baseline does not fit, or the class score has no gradient.
        """
        with torch.inference_mode(False):
            volume = check_volume(volume, self.model)
            targets = targets_per_scan(target, len(volume))
            given = references_per_scan(reference, self.baseline, volume)
            watch = self._run.watch()
            arguments = ForwardArguments(forward_args, volume)
            forward = Forward(Adapted(self.model, self.output, arguments))
            copies = Copies(forward, self._run)
            found = []
            shown = self._run.progress if len(volume) > 1 else False
            with (
                evaluation_mode(self.model),
                progress_bar("scans", len(volume), shown) as advance,
            ):
                for place, (scan, own, other) in enumerate(zip(volume, targets, given, strict=True)):
                    watch.next_scans()
                    baseline = self._baseline(scan, other)
                    scan = scan.contiguous()
                    with forward.rows(place, place + 1):
                        outputs, index = self._class_scores(forward, scan[None], own, watch)
                        score = ClassGradient(forward, index, self._run, copies)
                        found.append((*self._one(score, scan, baseline), outputs, index))
                    advance(1)
        watch.warn()
        maps, reports, scores, indices = zip(*found, strict=True)
        self._warn_of_gaps(reports)
        return self._explanation(torch.stack(maps), torch.cat(scores), torch.cat(indices), reports)

    def _baseline(self, scan: Tensor, given: Tensor | None) -> Tensor | None:
        if self.baseline is None:
            return None
        baseline = reference_volume(self.baseline, scan, self.model, spacing=self.spacing, given=given)
        # A copy: tensors made in inference mode cannot take part in a backward pass.
        return baseline.clone(memory_format=torch.contiguous_format)

    def _class_scores(
        self, forward: Forward, scan: Tensor, target: Target, watch: OutputWatch
    ) -> tuple[Tensor, Tensor]:
        """Return class scores ``[1, classes]`` and the class ``[1]`` of a scan ``[1, C, D, H, W]``."""
        with torch.no_grad():
            seen = self._run.reading.look(forward(scan.clone()), 1, target, self.model)
            watch.begin(seen, inside_of(forward.model), forward, scan)
        return seen.logits, seen.target

    def _one(
        self, score: ClassGradient, scan: Tensor, baseline: Tensor | None
    ) -> tuple[Tensor, GradientReport]:
        attribution, passes = self._attribute(score, scan, baseline)
        heat = attribution.detach().double().sum(0)
        if not torch.isfinite(heat).all():
            raise ValueError(
                f"the gradients overflow in {scan.dtype}; run the model in float32, or use another score"
            )
        report = GradientReport(passes)
        if self._advice is not None and baseline is not None:
            change = score.value(scan) - score.value(baseline)
            report = GradientReport(passes, change, float(heat.sum()))
        if self.smoothing is not None:
            heat = _smoothed(heat, in_voxels(self.smoothing, self.spacing))
        return (heat if self.signed else heat.abs()).float(), report

    def _warn_of_gaps(self, reports: tuple[GradientReport, ...]) -> None:
        """Warn once if maps do not add up to the change of the score."""
        bad = [own for own in reports if (own.completeness_gap or 0) > LARGEST_GAP]
        if not bad:
            return
        worst = max(bad, key=lambda own: own.completeness_gap or 0)
        several = f" (the largest of {len(bad)} such scans)" if len(bad) > 1 else ""
        warnings.warn(
            f"the map adds up to {worst.map_sum:.4g}, but the score changes by {worst.score_change:.4g} "
            f"from the baseline to the scan: a completeness gap of {worst.completeness_gap:.1%}{several}, "
            f"expected at most {LARGEST_GAP:.0%}; {self._advice}",
            stacklevel=3,
        )


def _smoothed(heat: Tensor, sigma: float | list[float]) -> Tensor:
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(heat.cpu().numpy(), sigma, mode="constant")
    return torch.from_numpy(smooth).to(heat.device)
