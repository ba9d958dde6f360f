"""The methods that the command line offers: their options, defaults and explainers."""

import math
from typing import Any, Literal, get_args

from torch import nn

from pyadx.commands.devices import parse_bytes
from pyadx.explainers import CAM, GradCAM, Occlusion, SupervoxelOcclusion
from pyadx.segmentation.options import check_options

Method = Literal["occlusion", "sa3ducm", "cam", "gradcam"]
Explainer = CAM | GradCAM | Occlusion | SupervoxelOcclusion

# Options that each method understands, and their defaults.
_OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {
        "window": 7, "stride": 1, "fill": 0.0, "score": "probability", "engine": "auto",
        "precision": "float32", "max_memory": None, "budget": None,
    },
    "sa3ducm": {
        "levels": 20, "max_regions": 500, "preset": "default", "aggregate": "mean", "signed": False,
        "fill": 0.0, "score": "probability", "engine": "auto", "precision": "float32", "max_memory": None,
    },
    "cam": {"rectify": "abs", "align": "stretch", "score": "logit"},
    "gradcam": {"layer": None, "rectify": "abs", "align": "stretch", "score": "logit"},
}  # fmt: skip


def make_explainer(
    method: str,
    model: nn.Module,
    options: dict[str, Any],
    spacing: float | None,
    batch_size: Any = "auto",
    progress: bool = False,
) -> Explainer:
    """Return the explainer of a method with all its options (`method_options`), which are checked here."""
    common = {"batch_size": batch_size, "progress": progress}
    if method in ("occlusion", "sa3ducm"):
        # Commands do not change a network between scans.
        own = {"keep_trace": True, **options}
        memory = own.pop("max_memory")
        common["max_memory"] = None if memory is None else parse_bytes(memory)
        if method == "occlusion":
            return Occlusion(model, **common, budget_s=own.pop("budget"), **own)
        segmentation = {
            "max_levels": own.pop("levels"),
            "max_regions": own.pop("max_regions"),
            "preset": own.pop("preset"),
            "spacing": spacing,
        }
        check_options(**segmentation)
        return SupervoxelOcclusion(model, **common, segmentation=segmentation, **own)
    if method == "cam":
        return CAM(model, **options, **common)
    return GradCAM(model, **options, **common)


def method_options(method: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return all options of a method: those given, and the defaults of the others.

    Raises
    ------
    ValueError
        If there is no such method, or an option has no meaning for it.
    """
    if method not in get_args(Method):
        raise ValueError(f"--method must be one of {', '.join(get_args(Method))}, got {method!r}")
    known = _OPTIONS[method]
    for name in given:
        if name not in known:
            raise ValueError(f"--{name.replace('_', '-')} has no meaning for --method {method}")
    options = {**known, **given}
    if "fill" in options and not math.isfinite(options["fill"]):
        raise ValueError(f"--fill must be a finite number, got {options['fill']}")
    return options
