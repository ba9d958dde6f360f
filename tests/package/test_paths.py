"""Every public function that takes a path takes a string."""

import importlib
import inspect
import re
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest

from pyadx import models, segmentation

ROOMS = (
    "pyadx",
    "pyadx.data",
    "pyadx.data.cohort",
    "pyadx.data.phantom",
    "pyadx.data.derivatives",
    "pyadx.data.heatmaps",
    "pyadx.data.inputs",
    "pyadx.data.regions",
    "pyadx.data.scans",
    "pyadx.evaluation",
    "pyadx.evaluation.costs",
    "pyadx.evaluation.scoreboard",
    "pyadx.explainers",
    "pyadx.inference",
    "pyadx.models",
    "pyadx.models.demonstration",
    "pyadx.models.lasagne",
    "pyadx.npz",
    "pyadx.report",
    "pyadx.report.comparison",
    "pyadx.report.hierarchies",
    "pyadx.report.precision_recall",
    "pyadx.report.roc",
    "pyadx.segmentation",
    "pyadx.segmentation.storage",
    "pyadx.training",
)


def functions(room):
    """Yield every public function and method that a module offers, constructors and calls too."""
    module = importlib.import_module(room)
    offered = getattr(module, "__all__", None)
    for name in offered or [n for n in vars(module) if not n.startswith("_")]:
        found = getattr(module, name)
        if not callable(found) or not getattr(found, "__module__", "").startswith("pyadx"):
            continue
        if offered is None and found.__module__ != room:
            continue
        if inspect.isclass(found):
            record = is_dataclass(found)  # its fields are what readers put there
            for method, member in vars(found).items():
                if record and method == "__init__":
                    continue
                if inspect.isfunction(member) and (method in ("__call__", "__init__") or method[0] != "_"):
                    yield f"{room}.{name}.{method}", member
        elif inspect.isfunction(found):
            yield f"{room}.{name}", found


def test_no_public_function_asks_for_a_path_object():
    found = [pair for room in ROOMS for pair in functions(room)]
    assert len(found) > 100
    wrong = [
        f"{name}({parameter})"
        for name, function in found
        for parameter, wanted in inspect.get_annotations(function).items()
        if parameter != "return"
        and re.search(r"\bPath\b", str(wanted))
        and not re.search(r"\bstr\b", str(wanted))
    ]
    assert wrong == []


@pytest.fixture
def scan_file(tmp_path, monkeypatch):
    nib = pytest.importorskip("nibabel")
    monkeypatch.chdir(tmp_path)
    data = np.random.default_rng(0).random((12, 14, 13), np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), "scan.nii.gz")
    nib.save(nib.Nifti1Image((data > 0.5).astype(np.uint8), np.diag([2.0, 2, 2, 1])), "mask.nii.gz")
    return "scan.nii.gz"


def test_scans_heatmaps_and_labels_by_name(scan_file):
    from pyadx.data import read_scan, write_heatmap
    from pyadx.data.heatmaps import check_heatmap_path, scores_path, sidecar_path
    from pyadx.data.regions import find_labels, read_labels, read_mask

    scan = read_scan(scan_file)
    check_heatmap_path("heat.nii.gz")
    write_heatmap("heat.nii.gz", scan.data, scan, {"method": "test"})
    assert sidecar_path("heat.nii.gz").is_file()
    assert scores_path("heat.nii.gz") == Path("heat.nii.gz.scores")
    assert read_mask("mask.nii.gz", scan).any()
    assert read_labels("mask.nii.gz").data.any()
    assert find_labels(".", "mask", "{subject}.nii.gz") == Path("mask.nii.gz")


def test_hierarchies_and_checkpoints_by_name(scan_file):
    from pyadx.data import read_scan

    scan = read_scan(scan_file)
    tree = segmentation.ucm(scan.data, min_size=1, max_regions=5)
    tree.save("tree.npz")
    assert segmentation.load("tree.npz").n_leaves == tree.n_leaves
    tree.save_labels("labels.nii.gz", scan.affine)
    models.save(models.build("resnet-shallow-gap", (16, 16, 16), seed=0), "net.safetensors")
    assert models.load("net.safetensors").card.architecture == "resnet-shallow-gap"


def test_figures_and_pages_by_name(scan_file):
    pytest.importorskip("matplotlib")
    from pyadx import report
    from pyadx.data import read_scan

    scan = read_scan(scan_file)
    report.save_panels("panels.png", scan.data, {"map": scan.data}, "title")
    page = report.show(scan_file, scan_file).page
    report.save_page("page.html", page)
    assert Path("panels.png").is_file()
    assert Path("page.html").is_file()


def test_derivatives_tables_and_plans_by_name(scan_file):
    from pyadx.data.cohort import read_cohort
    from pyadx.data.derivatives import derivative_file, start_derivatives
    from pyadx.data.phantom import is_synthetic, planted_file
    from pyadx.evaluation.costs import write_costs
    from pyadx.evaluation.scoreboard import write_scores

    start_derivatives("maps", ".")
    assert derivative_file("maps", "1", "cam").parent == Path("maps/sub-1/anat")
    Path("cohort.csv").write_text("path,subject,label\nscan.nii.gz,s1,AD\nmask.nii.gz,s2,NC\n")
    assert len(read_cohort("cohort.csv").scans) == 2
    assert not is_synthetic(".")
    assert planted_file(".", "s1").name == "s1_desc-planted_logvolume.nii.gz"
    write_costs("costs.csv", [])
    write_scores("scores.csv", [])
    assert Path("costs.csv").is_file()
