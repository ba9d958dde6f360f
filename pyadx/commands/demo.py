"""``pyadx demo``: the whole way on a real brain, with a network that everybody can make."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx import models
from pyadx.commands.explain import ExplainRequest, Explanation, run_explain
from pyadx.commands.segment import SegmentRequest, run_segment
from pyadx.data.scans import read_scan
from pyadx.files import check_writable_folder, replacing
from pyadx.report.panels import check_figures_possible, save_panels

ARCHITECTURE = "vggnet"
SEED = 0
_WINDOW, _STRIDE = 13, 13


@dataclass(frozen=True)
class DemoResult:
    """Where the demo put its files, and the explanations by name."""

    folder: Path
    figure: Path
    hierarchy: Path
    explanations: dict[str, Explanation]


def run_demo(folder: Path, device: str = "auto", progress: bool = True) -> DemoResult:
    """Explain the MNI152 T1 brain with an untrained network: Grad-CAM, strided occlusion, SA-3DUCM.

    Writes ``scan.nii.gz``, ``untrained-vggnet.safetensors``, three heatmaps with sidecars, the label
    volumes of the hierarchy, ``hierarchy.png`` and ``demo.png`` into ``folder``, replacing files of these
    names.

    Raises
    ------
    ValueError
        If nilearn or Matplotlib is missing or the folder cannot be written to.
    """
    check_figures_possible()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, expected a folder for the results")
    template = _mni152()
    folder.mkdir(parents=True, exist_ok=True)
    scan_file = folder / "scan.nii.gz"
    check_writable_folder(scan_file)
    _save_scan(template, scan_file)
    checkpoint = folder / f"untrained-{ARCHITECTURE}.safetensors"
    model = models.build(ARCHITECTURE, seed=SEED)
    models.save(model, checkpoint, provenance={"weights": f"random, seed {SEED}"})

    jobs: dict[str, tuple[str, dict[str, Any]]] = {
        "Grad-CAM, conv2b": ("gradcam", {"layer": "conv2b", "align": "receptive_field"}),
        f"occlusion, {_WINDOW} voxels": ("occlusion", {"window": _WINDOW, "stride": _STRIDE}),
        "SA-3DUCM": ("sa3ducm", {}),
    }
    explanations = {}
    for name, (method, options) in jobs.items():
        request = ExplainRequest(
            scan=scan_file,
            model=checkpoint,
            out=folder / f"{method}.nii.gz",
            method=method,
            options=options,
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
    scan = read_scan(scan_file)
    on_scan = {name: explanation.heatmap for name, explanation in explanations.items()}
    save_panels(figure, scan.data, on_scan, "MNI152 T1 brain, UNTRAINED 3D-VGGNet (random weights)")
    return DemoResult(folder, figure, hierarchy, explanations)


def _mni152() -> Any:
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        raise ValueError(
            "the demo takes its scan from nilearn; install it with: pip install 'pyadx[report]'"
        ) from None
    return load_mni152_template(resolution=2)


def _save_scan(template: Any, path: Path) -> None:
    """Save the template with a clean background, as a masked scan has it.

    Resampling leaves values around 1e-17 outside the brain.
    """
    import nibabel as nib

    data = template.get_fdata(dtype=np.float32)
    data = np.where(data < 1e-6, np.float32(0), data)
    image = nib.Nifti1Image(data, template.affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as (partial,):
        nib.save(image, partial)
