"""``pyadx demo``: all methods on a synthetic patient, with networks that were trained on others."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyadx.commands.explaining.explain import ExplainedScan, ExplainRequest, run_explain
from pyadx.commands.explaining.segment import SegmentRequest, run_segment
from pyadx.data.phantom import Person, SyntheticScan, cohort_grid, draw_people, make_scan, save_synthetic
from pyadx.data.phantom.anatomy import HIPPOCAMPUS
from pyadx.explainers import parse_method
from pyadx.files import check_writable_folder
from pyadx.models.demonstration import demonstration_checkpoint
from pyadx.report.panels import check_figures_possible, save_panels

# The networks were trained on people of the cohort with seed 0.
_SEED = 2
_PLANTED = "planted"
_JOBS = {
    "Grad-CAM, conv2b": ("gradcam:layer=conv2b,align=receptive_field", "vggnet"),
    "CAM": ("cam:align=receptive_field", "resnet-shallow-gap"),
    "occlusion, 7 voxels": ("occlusion:window=7,stride=3", "vggnet"),
    "SA-3DUCM": ("sa3ducm", "vggnet"),
}


@dataclass(frozen=True)
class DemoResult:
    """Where the demo put its files, whose scan it explained, and the explanations by name."""

    folder: Path
    figure: Path
    hierarchy: Path
    patient: Person
    explanations: dict[str, ExplainedScan]


def run_demo(folder: Path, device: str = "auto", progress: bool = True) -> DemoResult:
    """Explain a synthetic patient with networks that never saw it: Grad-CAM, CAM, occlusion, SA-3DUCM.

    Writes ``planted.nii.gz`` (where the disease is), ``scan.nii.gz``, four heatmaps with sidecars,
    the label volumes of the hierarchy, ``hierarchy.png`` and ``demo.png`` into ``folder``, replacing
    those of an earlier demo.

    Raises
    ------
    ValueError
        If nilearn or Matplotlib is missing, the folder cannot be written to, or it holds a file of one of
        these names and no earlier demo.
    """
    check_figures_possible()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, expected a folder for the results")
    _refuse_files_of_others(folder)
    patient = _patient()
    scan = make_scan(patient, cohort_grid())
    assert scan.planted is not None
    folder.mkdir(parents=True, exist_ok=True)
    scan_file = folder / "scan.nii.gz"
    check_writable_folder(scan_file)
    # First what later calls know an earlier demo by.
    save_synthetic(folder / f"{_PLANTED}.nii.gz", scan.planted)
    save_synthetic(scan_file, scan.t1)
    explanations = {}
    for name, (method, architecture) in _JOBS.items():
        request = ExplainRequest(
            scan=scan_file,
            model=demonstration_checkpoint(architecture),
            out=folder / f"{parse_method(method).method.name}.nii.gz",
            method=method,
            target="AD",
            device=device,
            overwrite=True,
            progress=progress,
        )
        explanations[name] = run_explain(request)

    hierarchy = folder / "hierarchy.png"
    run_segment(
        SegmentRequest(
            scan_file, folder / "labels.nii.gz", {}, figure=hierarchy, overwrite=True, progress=progress
        )
    )
    figure = folder / "demo.png"
    _draw(figure, scan, explanations)
    return DemoResult(folder, figure, hierarchy, patient, explanations)


def _refuse_files_of_others(folder: Path) -> None:
    if (folder / f"{_PLANTED}.nii.gz").exists():
        return
    methods = [f"{method}{suffix}" for method, *_ in _JOBS.values() for suffix in (".nii.gz", ".json")]
    for name in ("scan.nii.gz", *methods, "labels.nii.gz", "labels.json", "hierarchy.png", "demo.png"):
        if (folder / name).exists():
            raise ValueError(f"{folder / name}: exists already and is of no demo; choose another folder")


def _patient() -> Person:
    """Return the most severely ill of a cohort that no network was trained on."""
    return max(draw_people(103, _SEED), key=lambda person: person.severity)


def _draw(figure: Path, scan: SyntheticScan, explanations: dict[str, ExplainedScan]) -> None:
    assert scan.planted is not None
    rows = {"planted disease": np.abs(scan.planted)}
    rows |= {name: explanation.heatmap for name, explanation in explanations.items()}
    hippocampus = np.argwhere(scan.labels == HIPPOCAMPUS[0]).mean(0).round().astype(int).tolist()
    title = (
        "SYNTHETIC patient; networks trained on a synthetic cohort (CAM: ResNet-Shallow-GAP, else VGGNet)"
    )
    facts = {name: explanation.sidecar for name, explanation in explanations.items()}
    save_panels(figure, scan.t1, rows, title, at=hippocampus, facts=facts)
