"""``pyadx demo``: all methods on a synthetic patient, with networks trained on other subjects."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyadx.commands.explaining.explain import ExplainedScan, ExplainRequest, run_explain
from pyadx.commands.explaining.segment import SegmentRequest, run_segment
from pyadx.data.phantom import (
    Person,
    SyntheticScan,
    cohort_grid,
    draw_people,
    make_scan,
    planted_regions,
    save_synthetic,
)
from pyadx.data.phantom.anatomy import HIPPOCAMPUS
from pyadx.evaluation import localization
from pyadx.explainers import parse_method
from pyadx.files import check_writable_folder
from pyadx.models.demonstration import demonstration_checkpoint
from pyadx.report.panels import check_figures_possible, save_panels

# The networks were trained on the cohort with seed 0, so the demo uses another seed.
_SEED = 2
_PLANTED = "planted"
_JOBS = {
    "SA-3DUCM": ("sa3ducm", "vggnet"),
    "occlusion, 7 voxels": ("occlusion:window=7,stride=3", "vggnet"),
    "CAM": ("cam:align=receptive_field", "resnet-shallow-gap"),
    "Grad-CAM, conv2b": ("gradcam:layer=conv2b,align=receptive_field", "vggnet"),
}
_TITLE_LETTERS = 95  # maximum length of a line in the figure's title
_FOUND = 3  # a method finds the disease if its precision is this many times a random map's


@dataclass(frozen=True)
class DemoResult:
    """Files, patient and explanations of a demo.

    Attributes
    ----------
    folder, figure, hierarchy : Path
        The output folder, the figure of all heatmaps, and the figure of the hierarchy.
    patient : Person
        The synthetic patient.
    explanations : dict
        Explanations by name.
    precision : dict
        Average precision of each map for the core of the planted disease, inside the brain.
    prevalence : float
        Core's share of the brain, which is the precision of a random map.
    """

    folder: Path
    figure: Path
    hierarchy: Path
    patient: Person
    explanations: dict[str, ExplainedScan]
    precision: dict[str, float]
    prevalence: float

    def words(self) -> str:
        """Say which methods find the planted disease, and which do not."""
        missed = [name for name, own in self.precision.items() if own < _FOUND * self.prevalence]
        found = [name for name in self.precision if name not in missed]
        text = "AP: average precision for the core of the planted disease; a random map has "
        text += f"{self.prevalence:.3f}."
        if missed:
            text += f" {' and '.join(missed)} {'does' if len(missed) == 1 else 'do'} not find it"
            text += f"; {' and '.join(found)} {'does' if len(found) == 1 else 'do'}." if found else "."
        return text


def run_demo(folder: Path, device: str = "auto", progress: bool = True) -> DemoResult:
    """Explain a synthetic patient that the networks never saw: SA-3DUCM, occlusion, CAM, Grad-CAM.

    Writes ``planted.nii.gz`` (where the disease is), ``scan.nii.gz``, four heatmaps with sidecars,
    the label volumes of the hierarchy, ``hierarchy.png`` and ``demo.png`` into ``folder``, replacing
    those of an earlier demo.

    Raises
    ------
    ValueError
        If nilearn or Matplotlib is missing, the folder cannot be written to, or it holds a file with one
        of these names that is not from an earlier demo.
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
    # Written first, because later calls recognise an earlier demo by it.
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
    core, brain = planted_regions(scan.planted)["planted core"], scan.t1 != 0
    precision = {
        name: localization(explained.heatmap, {"core": core}, brain)["core"].average_precision
        for name, explained in explanations.items()
    }
    prevalence = float(core[brain].mean())
    result = DemoResult(
        folder, folder / "demo.png", hierarchy, patient, explanations, precision, prevalence
    )
    _draw(result, scan)
    return result


def _refuse_files_of_others(folder: Path) -> None:
    if (folder / f"{_PLANTED}.nii.gz").exists():
        return
    methods = [f"{method}{suffix}" for method, *_ in _JOBS.values() for suffix in (".nii.gz", ".json")]
    for name in ("scan.nii.gz", *methods, "labels.nii.gz", "labels.json", "hierarchy.png", "demo.png"):
        if (folder / name).exists():
            raise ValueError(
                f"{folder / name}: exists already and was not written by pyadx demo; choose another folder"
            )


def _patient() -> Person:
    """Return the most severely ill patient of a cohort that no network was trained on."""
    return max(draw_people(103, _SEED), key=lambda person: person.severity)


def _draw(result: DemoResult, scan: SyntheticScan) -> None:
    assert scan.planted is not None
    rows = {"planted disease": np.abs(scan.planted)}
    titles = {name: f"{name}\nAP {own:.2f}" for name, own in result.precision.items()}
    rows |= {titles[name]: explanation.heatmap for name, explanation in result.explanations.items()}
    hippocampus = np.argwhere(scan.labels == HIPPOCAMPUS[0]).mean(0).round().astype(int).tolist()
    title = (
        "SYNTHETIC patient; networks trained on a synthetic cohort (CAM: ResNet-Shallow-GAP, else VGGNet)\n"
        + textwrap.fill(result.words(), _TITLE_LETTERS)
    )
    facts = {titles[name]: explanation.sidecar for name, explanation in result.explanations.items()}
    save_panels(result.figure, scan.t1, rows, title, at=hippocampus, facts=facts)
